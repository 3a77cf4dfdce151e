//! A section of a pcapng file, written as other programs may write it.

use craft::Capture;

/// How a section is written.
pub struct Section {
    /// Big-endian words.
    pub big_endian: bool,
    /// Interfaces are described with their names.
    pub named: bool,
    /// Number of the interface in each description.
    pub order: Vec<u32>,
}

impl Section {
    /// The section with these frames of a capture; their interfaces keep their names.
    pub fn bytes(&self, capture: &Capture, frames: std::ops::Range<usize>) -> Vec<u8> {
        let mut body = self.u32(0x1a2b_3c4d);
        body.extend([self.u16(1), self.u16(0)].concat());
        body.extend([0xff; 8]);
        let mut out = self.block(0x0a0d_0d0a, &body);
        for interface in &self.order {
            let mut body = self.u16(capture.link.number());
            body.extend([self.u16(0), self.u32(0)].concat());
            if self.named {
                // The names that craft gives.
                body.extend(self.option(2, format!("eth{interface}").as_bytes()));
            }
            // Nanoseconds.
            body.extend(self.option(9, &[9]));
            body.extend(self.option(0, &[]));
            out.extend(self.block(1, &body));
        }
        for frame in &capture.frames[frames] {
            let described = self.order.iter().position(|one| *one == frame.interface);
            let described = described.expect("each interface is described");
            let ts = u64::try_from(frame.ts_ns).expect("a time after 1970");
            let words = [
                u32::try_from(described).expect("few interfaces"),
                u32::try_from(ts >> 32).expect("the upper half"),
                u32::try_from(ts & 0xffff_ffff).expect("the lower half"),
                u32::try_from(frame.bytes.len()).expect("a frame is short"),
                frame.wire_len,
            ];
            let head = words.into_iter().flat_map(|word| self.u32(word));
            let body: Vec<u8> = head.chain(frame.bytes.iter().copied()).collect();
            out.extend(self.block(6, &body));
        }
        out
    }

    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).expect("options are short");
        let mut out = [self.u16(code), self.u16(len), value.to_vec()].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn block(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = self.u32(u32::try_from(padded + 12).expect("blocks are short"));
        let padding = vec![0; padded - body.len()];
        [&self.u32(kind)[..], &len, body, &padding, &len].concat()
    }

    fn u16(&self, value: u16) -> Vec<u8> {
        match self.big_endian {
            true => value.to_be_bytes().to_vec(),
            false => value.to_le_bytes().to_vec(),
        }
    }

    fn u32(&self, value: u32) -> Vec<u8> {
        match self.big_endian {
            true => value.to_be_bytes().to_vec(),
            false => value.to_le_bytes().to_vec(),
        }
    }
}
