//! The messages of a gRPC body, told apart as its data passes.

/// Follows the length-prefixed messages of one direction (gRPC over HTTP/2, "Length-Prefixed-Message").
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; 5],
    /// How much of the prefix has passed.
    known: usize,
    /// How much of the message is to come.
    left: usize,
    count: i64,
    is_lost: bool,
}

impl Messages {
    /// Calls `on` with the number and the length of each message that begins in this data.
    pub(super) fn pass(&mut self, mut data: &[u8], mut on: impl FnMut(i64, i64)) {
        while !self.is_lost && !data.is_empty() {
            let step = self.left.min(data.len());
            self.left -= step;
            data = &data[step..];
            let missing = (self.prefix.len() - self.known).min(data.len());
            self.prefix[self.known..self.known + missing].copy_from_slice(&data[..missing]);
            self.known += missing;
            data = &data[missing..];
            if self.known == self.prefix.len() {
                let [_, a, b, c, d] = self.prefix;
                let length = u32::from_be_bytes([a, b, c, d]);
                self.known = 0;
                self.left = usize::try_from(length).unwrap_or(usize::MAX);
                self.count += 1;
                on(self.count, i64::from(length));
            }
        }
    }

    /// Data passed that was not seen: where the next message begins is not known any more.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    #[test]
    fn messages_are_found_however_the_data_is_cut() {
        let body = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[7; 256], &[0, 0]].concat();
        for size in 1..=body.len() {
            let (mut messages, mut seen) = (Messages::default(), Vec::new());
            for data in body.chunks(size) {
                messages.pass(data, |number, length| seen.push((number, length)));
            }
            assert_eq!(seen, [(1, 3), (2, 0), (3, 256)], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let mut messages = Messages::default();
        messages.lose();
        messages.pass(&[0; 64], |_, _| panic!("must not guess"));
    }
}
