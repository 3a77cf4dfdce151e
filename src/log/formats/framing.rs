//! How records become the messages that a collector takes.
//!
//! A format renders one record at a time. Its framing joins records to messages, and completes each message when it is
//! sent, since a message may wait for a collector: only then its time and sequence number are known.

words! {
    /// How messages travel.
    pub enum Transport {
        /// Datagrams of UDP.
        Udp = "udp",
        /// A TCP connection.
        Tcp = "tcp",
        /// Datagrams to a socket of this host.
        Unix = "unix",
    }
}

/// Messages of a format: where they may go, and how they are made.
#[derive(Debug)]
pub struct Messaging {
    /// Transports that the protocol has.
    pub transports: &'static [Transport],
    /// Port of a collector without one.
    pub port: u16,
    /// Socket of this host, where the target may be left out.
    pub socket: Option<&'static str>,
    /// Whether collectors need templates, which `template=` sends again.
    pub templates: bool,
    /// Makes the framing of one output.
    pub framing: fn(&Framed) -> Box<dyn Framing>,
}

impl Messaging {
    /// Syntax of its targets.
    pub(super) fn forms(&self, word: &str) -> String {
        let form = |transport: &Transport| match (transport, self.socket) {
            (Transport::Unix, Some(socket)) => format!("{word}: {word}:unix://{socket}"),
            (Transport::Unix, None) => format!("{word}:unix:///SOCKET"),
            _ => format!("{word}:{transport}://HOST[:PORT]"),
        };
        let forms: Vec<String> = self.transports.iter().map(form).collect();
        forms.join(" ")
    }
}

/// Properties of an output that its framing depends on.
#[derive(Clone, Copy, Debug)]
pub struct Framed {
    /// Its transport.
    pub transport: Transport,
    /// `domain=`.
    pub domain: u32,
}

/// Joins records to messages. One for each output.
pub trait Framing: Send {
    /// Appends what a message begins with.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Joins the record `out[record..]` to the message `out[message..record]`. False, and nothing has changed: the message
    /// has records and takes no more, as it would be longer than `limit` bytes.
    fn join(&mut self, out: &mut Vec<u8>, message: usize, record: usize, limit: usize) -> bool;

    /// Completes a message, which is sent at `now_ns`. The same message may be completed again: only [`Framing::sent`]
    /// changes the next number.
    fn complete(&mut self, _message: &mut [u8], _now_ns: i64) {}

    /// A completed message was sent.
    fn sent(&mut self, _message: &[u8]) {}

    /// A new connection: numbers begin anew.
    fn restart(&mut self) {}

    /// What a collector must know before the first record: templates, each message at most `limit` bytes.
    fn introductions(&mut self, _limit: usize) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Each record is a message.
#[derive(Debug, Default)]
pub struct Single {
    /// Octet counting (RFC 6587, 3.4.1): the length in decimal, and a space, before each.
    pub counted: bool,
}

impl Framing for Single {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn join(&mut self, out: &mut Vec<u8>, message: usize, record: usize, _: usize) -> bool {
        if message != record {
            return false;
        }
        if self.counted {
            let len = out.len() - record;
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(len).as_bytes();
            out.extend_from_slice(digits);
            out.push(b' ');
            out[record..].rotate_right(digits.len() + 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octet_counting_puts_the_length_before_each_record() {
        let mut framing = Single { counted: true };
        let mut out = b"7 earlier".to_vec();
        let start = out.len();
        out.extend_from_slice(b"<13>1 twelve bytes");
        assert!(framing.join(&mut out, start, start, 10));
        assert_eq!(out, b"7 earlier18 <13>1 twelve bytes");
        let next = out.len();
        out.push(b'x');
        assert!(!framing.join(&mut out, start, next, 1000));
        assert_eq!(&out[next..], b"x");
    }
}
