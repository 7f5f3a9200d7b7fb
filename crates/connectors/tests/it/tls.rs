//! PostgreSQL over TLS: who is believed to be the server.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use runtime::{ConnectorError, Destination, KeyRange};
use serde_json::json;
use testkit::Postgres;

use crate::fixture::{binding, builtin, collection, endpoint, materialization};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name, and its key.
    fn certificate(&self, name: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A mode, a file of authorities, and what comes of them.
type Case = (Option<&'static str>, Option<&'static str>, Result<&'static str, &'static str>);

#[test]
fn the_server_is_who_it_should_be() {
    let mut cluster = Postgres::start();
    let (ours, others) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    for (name, pem) in [("ours.pem", &ours.pem), ("none.pem", &String::new())] {
        std::fs::write(dir.path().join(name), pem).unwrap();
    }
    let base = format!("file://{}/catalog.yaml", dir.path().display());
    let open = |cluster: &Postgres, mode: Option<&str>, authorities: Option<&str>| -> Result<String, ConnectorError> {
        let config = json!({
            "address": format!("127.0.0.1:{}", cluster.port()),
            "user": cluster.user(),
            "password": cluster.password(),
            "sslmode": mode,
            "sslrootcert": authorities,
        });
        let source = collection("a/b", &[]);
        let endpoint = endpoint("materialize-postgres", &base, config);
        let task = materialization("acme/tls", endpoint, vec![binding(json!({"table": "t"}), "a/b", &[], true)]);
        let opened = builtin().open_destination(&task, &[&source], KeyRange::ALL)?;
        let sql = "SELECT ssl::text || ' ' || coalesce(version, '') FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name LIKE 'segtide/acme/tls/%'";
        let row = cluster.connect().query_one(sql, &[]).unwrap();
        assert!(matches!(opened, Destination::Table(_)));
        Ok(row.get(0))
    };
    let (plain, encrypted) = (Ok("false "), Ok("true TLSv1.3"));
    let check = |cluster: &Postgres, cases: &[Case]| {
        for (mode, authorities, expected) in cases {
            match (open(cluster, *mode, *authorities), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, *expected, "{mode:?} {authorities:?}"),
                (Err(error), Err(expected)) => {
                    assert!(error.message.contains(expected), "{mode:?} {authorities:?}: {error}");
                    assert!(!error.message.contains(cluster.password()));
                }
                (found, expected) => panic!("{mode:?} {authorities:?}: {found:?}, not {expected:?}"),
            }
        }
    };
    let (require, ca, full) = (Some("require"), Some("verify-ca"), Some("verify-full"));
    let file = Some("ours.pem");

    check(
        &cluster,
        &[
            (None, None, plain),
            (Some("prefer"), None, plain),
            (require, None, Err("does not support TLS")),
            (full, file, Err("does not support TLS")),
        ],
    );
    let mut with = |(certificate, key): (String, String), cases: &[Case]| {
        cluster.use_certificate(&certificate, &key);
        cluster.restart();
        check(&cluster, cases);
    };
    with(
        ours.certificate("127.0.0.1", false),
        &[
            (None, None, plain),
            (Some("disable"), None, plain),
            (Some("prefer"), None, encrypted),
            (require, None, encrypted),
            (require, file, encrypted),
            (ca, file, encrypted),
            (full, file, encrypted),
            (full, None, Err("UnknownIssuer")),
            (ca, None, Err("UnknownIssuer")),
            (full, Some("none.pem"), Err("no certificate in it")),
            (full, Some("missing.pem"), Err("missing.pem")),
        ],
    );
    with(
        ours.certificate("db.example", false),
        &[(require, None, encrypted), (ca, file, encrypted), (full, file, Err("not valid for name"))],
    );
    with(
        ours.certificate("127.0.0.1", true),
        &[(require, None, encrypted), (ca, file, Err("expired")), (full, file, Err("expired"))],
    );
    with(
        others.certificate("127.0.0.1", false),
        &[(require, None, encrypted), (require, file, Err("")), (ca, file, Err("")), (full, file, Err(""))],
    );
}
