//! A tar writer in which every field can be wrong.

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The type: `0` a file, `2` a symbolic link, `5` a folder, `x` records, `L` a long name.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    /// What the header says, when that is not the size of the content.
    pub(crate) size: Option<u64>,
    pub(crate) link: String,
    pub(crate) content: Vec<u8>,
}

impl Member {
    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            kind: b'0',
            mode: 0o644,
            size: None,
            link: String::new(),
            content: content.to_vec(),
        }
    }

    pub(crate) fn of_kind(kind: u8, name: &str, content: &[u8]) -> Self {
        Self {
            kind,
            ..Self::file(name, content)
        }
    }

    /// The header; names of more than 100 bytes are cut off.
    fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name.as_bytes()[..self.name.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, b"0000000\x000000000");
        let size = self.size.unwrap_or(self.content.len() as u64);
        if size < 1 << 33 {
            put(124, format!("{size:011o}").as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// The archive of `members`, with its end.
pub(crate) fn write(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend(member.header());
        bytes.extend(&member.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
