//! Which addresses requests may go to: public ones, this machine's own while developing, and what the configuration lists.
//!
//! The check is made on the addresses a name was resolved to, and those are the ones connected to, so a name cannot mean another
//! address by then.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// IPv4 networks that are not of the public internet: address, bits of the network. From the special-purpose registry of IANA.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The IPv6 network of public addresses, and the networks in it that are not.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// IPv6 networks whose addresses are ways to IPv4 addresses, and where in them these begin, in bits from the left.
const CARRIES_V4: [(Ipv6Addr, u32, u32); 3] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 16),
];

/// What may be sent to.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    loopback: bool,
    listed: Vec<Listed>,
}

#[derive(Debug, Clone)]
enum Listed {
    Host(String),
    Network(IpAddr, u32),
}

impl Allowed {
    /// Public addresses, and maybe this machine itself.
    pub(super) fn new(loopback: bool) -> Self {
        Self { loopback, listed: Vec::new() }
    }

    /// Adds what a configuration lists: a network such as `10.1.0.0/16`, an address, or the name of a host.
    pub(super) fn list(&mut self, text: &str) -> Result<(), &'static str> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let listed = match (address.parse::<IpAddr>(), bits) {
            (Ok(address), bits) => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
                Listed::Network(address, bits.ok_or("the network has no such number of bits")?)
            }
            (Err(_), None) if is_host(text) => Listed::Host(text.trim_end_matches('.').to_ascii_lowercase()),
            (Err(_), _) => return Err("this is neither a network, nor an address, nor the name of a host"),
        };
        self.listed.push(listed);
        Ok(())
    }

    /// Whether requests to a host may go to this address.
    pub(super) fn allows(&self, host: &str, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        let host = host.trim_end_matches('.');
        is_public(address)
            || self.loopback && plain.is_loopback()
            || self.listed.iter().any(|listed| match listed {
                Listed::Host(name) => name.eq_ignore_ascii_case(host),
                Listed::Network(network, bits) => is_in(plain, *network, *bits) || is_in(address, *network, *bits),
            })
    }
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(network, bits)| is_in(v4.into(), (*network).into(), *bits)),
        IpAddr::V6(v6) => {
            let inside = |network: Ipv6Addr, bits| is_in(v6.into(), network.into(), bits);
            match CARRIES_V4.iter().find(|(network, bits, _)| inside(*network, *bits)) {
                Some((_, _, begin)) => is_public(Ipv4Addr::from_bits((v6.to_bits() >> (96 - begin)) as u32).into()),
                None => {
                    inside(PUBLIC_V6.0, PUBLIC_V6.1)
                        && !SPECIAL_V6.iter().any(|(network, bits)| inside(*network, *bits))
                }
            }
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

fn is_host(text: &str) -> bool {
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 253 && text.chars().all(allowed)
}

/// Resolves names as the machine does, and refuses addresses that are not allowed.
#[derive(Debug)]
pub(super) struct Guard<R = DefaultResolver> {
    pub(super) allowed: Allowed,
    pub(super) names: R,
}

/// Where a request may not go.
#[derive(Debug)]
pub(super) struct NotAllowed {
    host: String,
    address: IpAddr,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        write!(
            f,
            "{host} is the address {address}, which is not of the public internet. If it is meant, list it in `allowPrivate`"
        )
    }
}

impl std::error::Error for NotAllowed {}

impl<R: Resolver> Resolver for Guard<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolved = self.names.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        // One that is not allowed among others makes the name a trap.
        match resolved.iter().map(SocketAddr::ip).find(|address| !self.allowed.allows(host, *address)) {
            Some(address) => Err(ureq::Error::Other(Box::new(NotAllowed { host: host.to_owned(), address }))),
            None => Ok(resolved),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;
    use url::Url;

    use super::*;

    /// Forms of URLs that have been used to reach what should not be reached. `PORT` is one that listens.
    const FORMS: [&str; 44] = [
        "http://127.0.0.1:PORT/",
        "http://127.1:PORT/",
        "http://127.0.1:PORT/",
        "http://0x7f000001:PORT/",
        "http://0x7f.0x0.0x0.0x1:PORT/",
        "http://0X7F.1:PORT/",
        "http://0177.0.0.1:PORT/",
        "http://0177.0.0.0x1:PORT/",
        "http://2130706433:PORT/",
        "http://017700000001:PORT/",
        "http://127.0.0.1.:PORT/",
        "http://①②⑦.⓪.⓪.①:PORT/",
        "http://127。0。0。1:PORT/",
        "http://１２７.0.0.1:PORT/",
        "http://%31%32%37.0.0.1:PORT/",
        "http://localhost:PORT/",
        "http://localhost.:PORT/",
        "http://LOCALHOST:PORT/",
        "http://loc%61lhost:PORT/",
        "http://ｌocalhost:PORT/",
        "http://0:PORT/",
        "http://0.0.0.0:PORT/",
        "http://[::]:PORT/",
        "http://[::1]:PORT/",
        "http://[0:0:0:0:0:0:0:1]:PORT/",
        "http://[::127.0.0.1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://[::ffff:7f00:1]:PORT/",
        "http://[64:ff9b::127.0.0.1]:PORT/",
        "http://[64:ff9b:1::1]:PORT/",
        "http://[2002:7f00:1::]:PORT/",
        "http://[2001::1]:PORT/",
        "http://[fe80::1]:PORT/",
        "http://[fc00::1]:PORT/",
        "http://[ff02::1]:PORT/",
        "http://169.254.169.254:PORT/latest/meta-data/",
        "http://0xa9fea9fe:PORT/",
        "http://10.0.0.1:PORT/",
        "http://172.31.255.255:PORT/",
        "http://192.168.0.1:PORT/",
        "http://100.64.0.1:PORT/",
        "http://192.0.0.8:PORT/",
        "http://198.19.0.1:PORT/",
        "http://255.255.255.255:PORT/",
    ];

    fn agent<R: Resolver>(allowed: Allowed, names: R) -> Agent {
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).build();
        Agent::with_parts(config, DefaultConnector::default(), Guard { allowed, names })
    }

    #[test]
    fn no_form_of_a_url_reaches_what_it_should_not() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let agent = agent(Allowed::new(false), DefaultResolver::default());
        for form in FORMS {
            let Ok(url) = Url::parse(&form.replace("PORT", &port)) else { continue };
            let error = agent.get(url.as_str()).call().expect_err(form);
            // Some machines do not know every name for themselves.
            let unknown = error.to_string().contains("failed to lookup address");
            assert!(unknown || error.to_string().contains("is not of the public internet"), "{form}: {error}");
            assert!(listener.accept().is_err(), "{form}: it connected");
        }
    }

    /// A name that means something else each time it is asked for.
    #[derive(Debug)]
    struct Names(Vec<SocketAddr>);

    impl Resolver for Names {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let mut resolved = self.empty();
            self.0.iter().for_each(|address| resolved.push(*address));
            Ok(resolved)
        }
    }

    #[test]
    fn names_are_as_good_as_their_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (public, own) = ("203.1.113.9:80".parse().unwrap(), listener.local_addr().unwrap());
        for addresses in [vec![own], vec![public, own], vec![own, public]] {
            let error = agent(Allowed::new(false), Names(addresses)).get("http://hooks.example/").call().unwrap_err();
            assert!(error.to_string().contains("hooks.example is the address 127.0.0.1"), "{error}");
        }
        assert!(listener.accept().is_err(), "it connected");
    }

    #[test]
    fn what_is_allowed() {
        let allowed = |loopback, listed: &[&str]| {
            let mut allowed = Allowed::new(loopback);
            listed.iter().for_each(|text| allowed.list(text).unwrap());
            allowed
        };
        for (loopback, listed, host, address, expected) in [
            (false, &[][..], "a.example", "1.1.1.1", true),
            (false, &[], "a.example", "2606:4700::1111", true),
            (false, &[], "a.example", "64:ff9b::1.1.1.1", true),
            (false, &[], "a.example", "100.128.0.1", true),
            (false, &[], "a.example", "172.32.0.1", true),
            (false, &[], "a.example", "198.20.0.1", true),
            (true, &[], "localhost", "127.0.0.1", true),
            (true, &[], "localhost", "::1", true),
            (true, &[], "a", "::ffff:127.0.0.1", true),
            (true, &[], "a", "64:ff9b::127.0.0.1", false),
            (true, &[], "a", "0.0.0.0", false),
            (true, &[], "a", "10.0.0.1", false),
            (false, &["10.1.0.0/16"], "a", "10.1.255.1", true),
            (false, &["10.1.0.0/16"], "a", "::ffff:10.1.255.1", true),
            (false, &["10.1.0.0/16"], "a", "10.2.0.1", false),
            (false, &["0.0.0.0/0"], "a", "10.2.0.1", true),
            (false, &["0.0.0.0/0"], "a", "fc00::1", false),
            (false, &["fd00::/8"], "a", "fd12::1", true),
            (false, &["10.0.0.7"], "a", "10.0.0.7", true),
            (false, &["10.0.0.7"], "a", "10.0.0.8", false),
            (false, &["Hooks.internal."], "hooks.internal", "10.0.0.8", true),
            (false, &["hooks.internal"], "HOOKS.INTERNAL.", "10.0.0.8", true),
            (false, &["hooks.internal"], "x.hooks.internal", "10.0.0.8", false),
        ] {
            let allows = allowed(loopback, listed).allows(host, address.parse().unwrap());
            assert_eq!(allows, expected, "{loopback} {listed:?}: {host} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "a/b", "http://a", "a b"] {
            assert!(Allowed::new(false).list(wrong).is_err(), "{wrong}");
        }
    }
}
