//! Frames: how requests and replies are told apart on a pipe. A byte that says what it is, four that say how long, and
//! so many bytes.

use std::io::{self, Read};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The bytes before the content.
pub const HEADER_BYTES: usize = 5;

/// What begins a frame.
pub fn header(tag: u8, length: usize) -> io::Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(length).map_err(|_| too_long(length))?.to_le_bytes();
    Ok([tag, length[0], length[1], length[2], length[3]])
}

/// What a header says, if the frame is no longer than it may be.
fn parse(header: [u8; HEADER_BYTES], bytes_max: usize) -> io::Result<(u8, usize)> {
    let [tag, a, b, c, d] = header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > bytes_max { Err(too_long(length)) } else { Ok((tag, length)) }
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes"))
}

/// Reads a frame; none where the stream has ended.
pub fn read(from: &mut impl Read, bytes_max: usize) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; HEADER_BYTES];
    match from.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (tag, length) = parse(header, bytes_max)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok(Some((tag, content)))
}

/// Reads a frame without waiting for it in place.
pub async fn read_async(from: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).await?;
    let (tag, length) = parse(header, bytes_max)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content).await?;
    Ok((tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_framed_is_read_again() {
        let mut bytes = header(7, 3).expect("a header").to_vec();
        bytes.extend(b"abc");
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from, 3).expect("a frame"), Some((7, b"abc".to_vec())));
        assert_eq!(read(&mut from, 3).expect("an end"), None);
        assert!(read(&mut bytes.as_slice(), 2).is_err(), "it is longer than it may be");
        assert!(read(&mut &bytes[..6], 3).is_err(), "it ends too early");
    }
}
