use std::sync::Arc;

use super::*;

fn stream(mask: &Arc<Mask>, chunks: &[&[u8]]) -> String {
    let mut stream = mask.stream();
    let mut out = Vec::new();
    chunks.iter().for_each(|chunk| stream.push(chunk, &mut out));
    stream.finish(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_secret_split_over_chunks_is_masked() {
    let mask = Arc::new(Mask::new([("TOKEN", "hunter2")]));
    assert_eq!(stream(&mask, &[b"a hun", b"te", b"r2 b hunter"]), "a *** b hunter");
}
