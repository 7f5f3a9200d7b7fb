//! A client of `POST /ingest` that costs next to nothing beside what it measures: one connection, kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, bail};

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    head: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), head: Vec::new() })
    }

    /// Posts a body and waits for the answer, which must be that it is durable.
    pub(crate) fn post(&mut self, body: &[u8]) -> anyhow::Result<()> {
        self.head.clear();
        write!(
            self.head,
            "POST /ingest HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        let stream = self.stream.get_mut();
        stream.write_all(&self.head)?;
        stream.write_all(body)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let is_ok = line.starts_with("HTTP/1.1 200 ");
        let (status, mut length) = (line.trim_end().to_owned(), 0);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("a length of the answer")?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        if !is_ok {
            bail!("{status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}

/// The body that posts events, which are JSON texts.
pub(crate) fn body<'a>(events: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = b"{\"examples/segment/events\":[".to_vec();
    for (n, event) in events.enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(b"]}");
    body
}

/// The value below which this share of sorted values is.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Median and 99th percentile of times in seconds, as milliseconds, for people.
pub(crate) fn spread(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |share| quantile(&seconds, share) * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, of {}", at(0.5), at(0.99), at(1.0), seconds.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_quantiles() {
        let events = [b"{}".as_slice(), b"{\"a\":1}"];
        assert_eq!(body(events.into_iter()), b"{\"examples/segment/events\":[{},{\"a\":1}]}");
        let sorted: Vec<f64> = (0..101).map(f64::from).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99)), (50.0, 99.0));
    }
}
