//! Whether a destination that is elsewhere answers at all: a connection, and nothing said over it.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use catalog::Endpoint;
use serde_json::Value;
use url::Url;

const POSTGRES_PORT: u16 = 5432;

/// Connects to a destination and hangs up; where it is. `None` for one that is in this machine's files.
pub fn reach(endpoint: &Endpoint, timeout: Duration) -> Option<Result<String, String>> {
    let text = |name: &str| endpoint.config.get(name).and_then(Value::as_str);
    let (host, port) = match endpoint.connector.as_str() {
        "materialize-postgres" => match text("address") {
            Some(address) => match address.rsplit_once(':') {
                Some((host, port)) => (host.to_owned(), port.parse().unwrap_or(POSTGRES_PORT)),
                None => (address.to_owned(), POSTGRES_PORT),
            },
            None => {
                let port = endpoint.config.get("port").and_then(Value::as_u64);
                let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(POSTGRES_PORT);
                (text("host")?.to_owned(), port)
            }
        },
        "materialize-webhook" => {
            let url = Url::parse(text("address").or_else(|| text("endpoint"))?).ok()?;
            (url.host_str()?.to_owned(), url.port_or_known_default()?)
        }
        _ => return None,
    };
    let at = format!("{host}:{port}");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return Some(Err(format!("{at} cannot be found: {error}"))),
    };
    let mut last = format!("{at} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Some(Ok(at)),
            Err(error) => last = format!("{at} does not answer: {error}"),
        }
    }
    Some(Err(last))
}
