//! Reading the configuration and resources of `materialize-postgres`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use catalog::{ConfigError, Endpoint};
use serde_json::Value;

use super::DIALECT;
use crate::config::Fields;
use crate::path::local_path;
use crate::sql;

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] = &[
    "address",
    "host",
    "port",
    "user",
    "password",
    "credentials",
    "database",
    "dbname",
    "schema",
    "sslmode",
    "sslrootcert",
];
/// The fields of a resource.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["table", "schema", "delta_updates"];

const PORT_DEFAULT: u16 = 5432;
pub(super) const SCHEMA_DEFAULT: &str = "public";

/// Where the server is, and who we are to it.
pub(super) struct Config {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) ssl: SslMode,
    /// PEM certificates of the authorities to trust.
    pub(super) authorities: Option<PathBuf>,
}

/// How far the connection is protected, as PostgreSQL's own programs spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    /// Not at all.
    Disable,
    /// Encrypted if the server can; anyone may be the server.
    Prefer,
    /// Encrypted; anyone may be the server, unless authorities are given.
    Require,
    /// The server has a certificate of an authority, for whichever name.
    VerifyCa,
    /// The server has a certificate of an authority for the name we called it by.
    VerifyFull,
}

impl SslMode {
    const ALL: [(&'static str, SslMode); 5] = [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

impl Config {
    pub(super) fn read(endpoint: &Endpoint) -> Result<Self, Vec<ConfigError>> {
        let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
        let (host, port) = read_address(&mut fields);
        let user: Option<String> = fields.required("user", "the role to log in as");
        // Where there are other ways than a password, it stands among the credentials of its way.
        let mut credentials: BTreeMap<String, String> = fields.optional("credentials").unwrap_or_default();
        let password = match credentials.remove("password") {
            Some(password) => Some(password),
            None => fields.required("password", "the role's password"),
        };
        let database: Option<String> = fields.optional("database");
        let dbname: Option<String> = fields.optional("dbname");
        if database.is_some() && dbname.is_some() {
            fields.wrong("dbname", "`dbname` says again what `database` says", Some("keep `database`"));
        }
        let schema: Option<String> = fields.optional("schema");
        if let Some(mistake) = schema.as_ref().and_then(|schema| sql::name_mistake(DIALECT, schema)) {
            fields.wrong("schema", mistake, None);
        }
        let near = host.as_deref().is_some_and(is_loopback);
        let ssl = fields.optional::<String>("sslmode").map(|name| {
            let found = SslMode::ALL.into_iter().find(|(known, _)| *known == name);
            if found.is_none() {
                let hint = "one of `disable`, `prefer`, `require`, `verify-ca` and `verify-full`";
                fields.wrong("sslmode", "there is no such mode", Some(hint));
            }
            found.map_or(SslMode::VerifyFull, |(_, mode)| mode)
        });
        let ssl = ssl.unwrap_or(if near { SslMode::Disable } else { SslMode::VerifyFull });
        let authorities = fields.optional::<String>("sslrootcert").and_then(|path| {
            let path = local_path(&endpoint.base, &path);
            path.map_err(|reason| fields.wrong("sslrootcert", reason, None)).ok()
        });
        if authorities.is_some() && ssl < SslMode::Require {
            let hint = "`verify-full` checks the server against it";
            fields.wrong("sslrootcert", format!("with the mode `{}` it is not used", ssl.name()), Some(hint));
        }
        let errors = fields.finish();
        match (host, user, password) {
            (Some(host), Some(user), Some(password)) if errors.is_empty() => {
                Ok(Self { host, port, user, password, database: database.or(dbname), schema, ssl, authorities })
            }
            _ => Err(errors),
        }
    }

    /// What people should know of a connection that others may read or answer.
    pub(super) fn warning(&self) -> Option<String> {
        let danger = match self.ssl {
            _ if is_loopback(&self.host) => return None,
            SslMode::Disable => "is NOT ENCRYPTED: others may read the password and all rows",
            SslMode::Prefer => "MAY NOT BE ENCRYPTED: others may read the password and all rows",
            SslMode::Require if self.authorities.is_none() => {
                "is encrypted, but ANYONE MAY BE THE SERVER: its certificate is not checked"
            }
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => return None,
        };
        let (host, mode) = (&self.host, self.ssl.name());
        Some(format!(
            "the connection to PostgreSQL at {host} {danger}, as `sslmode: {mode}` asks for; without it, it is safe"
        ))
    }
}

/// The host and the port, which were two fields in 2021 and are one today.
fn read_address(fields: &mut Fields<'_>) -> (Option<String>, u16) {
    let address: Option<String> = fields.optional("address");
    let mut host: Option<String> = match address {
        Some(_) => fields.optional("host"),
        None => fields.required("host", "where the server is; or give `address`, `host:port`"),
    };
    let mut port: Option<u64> = fields.optional("port");
    if let Some(address) = address {
        if host.is_some() || port.is_some() {
            fields.wrong("address", "`address` says again what `host` and `port` say", Some("give one or the other"));
        }
        // An IPv6 address has colons of its own, and brackets around it when a port follows.
        let (before, after) = match address.rsplit_once(':') {
            Some((before, after)) if !before.contains(':') || before.ends_with(']') => (before, Some(after)),
            _ => (address.as_str(), None),
        };
        host = Some(before.trim_start_matches('[').trim_end_matches(']').to_owned());
        if let Some(after) = after {
            port = after.parse().ok();
            if port.is_none() {
                fields.wrong("address", "what follows the colon is no port", Some("write it as `host:port`"));
            }
        }
    }
    if host.as_ref().is_some_and(|host| host.is_empty() || host.contains('\0')) {
        fields.wrong("host", "this is no host", None);
    }
    let port = port.unwrap_or(u64::from(PORT_DEFAULT));
    let port = u16::try_from(port).ok().filter(|port| *port > 0).unwrap_or_else(|| {
        fields.wrong("port", "a port is between 1 and 65535", None);
        PORT_DEFAULT
    });
    (host, port)
}

/// Whether what is said to this host cannot leave the machine.
fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    loopback || name.eq_ignore_ascii_case("localhost") || host.starts_with('/')
}

/// Where the documents of a binding are kept.
pub(super) struct Resource {
    pub(super) path: Vec<String>,
    pub(super) delta: bool,
}

impl Resource {
    pub(super) fn read(n: usize, resource: &Value) -> Result<Self, Vec<ConfigError>> {
        let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
        let table: Option<String> = fields.required("table", "the table to keep the documents in");
        let schema: Option<String> = fields.optional("schema");
        let delta = fields.optional("delta_updates").unwrap_or(false);
        for (field, name) in [("table", &table), ("schema", &schema)] {
            if let Some(mistake) = name.as_ref().and_then(|name| sql::name_mistake(DIALECT, name)) {
                fields.wrong(field, mistake, None);
            }
        }
        if table.as_ref().is_some_and(|table| sql::RESERVED.contains(&table.as_str())) {
            fields.wrong("table", "this name is reserved", Some("choose another"));
        }
        let errors = fields.finish();
        let resource = table.map(|table| Self { path: schema.into_iter().chain([table]).collect(), delta });
        resource.filter(|_| errors.is_empty()).ok_or(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_servers_show_who_they_are_or_people_are_told() {
        let read = |host: &str, mode: Option<&str>| {
            let config = serde_json::json!({"host": host, "user": "u", "password": "p", "sslmode": mode});
            let url: url::Url = "file:///catalog.yaml".parse().unwrap();
            let place = catalog::Tree::from_yaml(&mut catalog::Sources::default(), url.clone(), "{}").unwrap().place();
            Config::read(&Endpoint { connector: "materialize-postgres".into(), image: None, config, base: url, place })
                .unwrap()
        };
        for (host, mode, expected, warning) in [
            ("localhost", None, SslMode::Disable, None),
            ("db.example", None, SslMode::VerifyFull, None),
            ("db.example", Some("verify-ca"), SslMode::VerifyCa, None),
            ("db.example", Some("require"), SslMode::Require, Some("ANYONE MAY BE THE SERVER")),
            ("db.example", Some("prefer"), SslMode::Prefer, Some("MAY NOT BE ENCRYPTED")),
            ("db.example", Some("disable"), SslMode::Disable, Some("is NOT ENCRYPTED")),
            ("127.0.0.1", Some("disable"), SslMode::Disable, None),
        ] {
            let config = read(host, mode);
            assert_eq!(config.ssl, expected, "{host} {mode:?}");
            let told = config.warning();
            assert_eq!(told.is_some(), warning.is_some(), "{told:?}");
            assert!(warning.is_none_or(|warning| told.unwrap_or_default().contains(warning)), "{host} {mode:?}");
        }
    }

    #[test]
    fn only_this_machine_is_near() {
        for near in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "/run/postgresql"]
        {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["10.0.0.1", "localhost.example", "0.0.0.0", "::", "db", "127.0.0.1.example", "2130706433", ""] {
            assert!(!is_loopback(far), "{far}");
        }
    }
}
