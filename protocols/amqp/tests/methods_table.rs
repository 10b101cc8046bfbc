//! The committed methods are what the generator makes of the table, and every method of the table reads back what it
//! writes.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::BytesMut;
use mailrail_amqp::codec::Method;
use proptest::prelude::*;

#[path = "../examples/generate_methods.rs"]
mod generate_methods;

const TABLE: &str = include_str!("../methods.table");

#[test]
fn the_committed_files_are_what_the_generator_writes() {
    let codec = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/codec");
    let mut generated = BTreeSet::new();
    for (path, text) in generate_methods::generate(TABLE) {
        let committed = std::fs::read_to_string(codec.join(&path)).unwrap_or_default();
        assert!(text == committed, "{path}: run `cargo run -p mailrail-amqp --example generate_methods`");
        generated.insert(codec.join(path));
    }
    for file in std::fs::read_dir(codec.join("methods")).unwrap() {
        let file = file.unwrap().path();
        assert!(generated.contains(&file), "{}: nothing in the table makes it", file.display());
    }
}

/// Arguments of one method with random values, by the types of its fields.
fn arguments(method: &generate_methods::Method, seed: &[u8]) -> Vec<u8> {
    let mut seed = seed.iter().copied().cycle();
    let mut next = move |len: usize| (0..len).map(|_| seed.next().unwrap_or(0)).collect::<Vec<u8>>();
    let mut out = Vec::new();
    let mut bits: Option<u8> = None;
    for field in &method.fields {
        let reserved = field.name.starts_with("reserved");
        if field.kind == "bit" {
            let shift = bits.map_or(0, |shift| shift + 1);
            if shift == 0 {
                out.push(0);
            }
            *out.last_mut().unwrap() |= if reserved { 0 } else { (next(1)[0] & 1) << shift };
            bits = Some(shift);
            continue;
        }
        bits = None;
        match field.kind.as_str() {
            "octet" => out.extend(if reserved { vec![0] } else { next(1) }),
            "short" => out.extend(if reserved { vec![0; 2] } else { next(2) }),
            "long" => out.extend(next(4)),
            "longlong" => out.extend(next(8)),
            "shortstr" if reserved => out.push(0),
            "shortstr" => {
                let text: Vec<u8> = next(5).iter().map(|byte| b'a' + byte % 26).collect();
                out.extend([&[5], &text[..]].concat());
            }
            "shortbytes" => out.extend([&[5], &next(5)[..]].concat()),
            "longstr" if reserved => out.extend([0; 4]),
            "longstr" => out.extend([&[0, 0, 0, 3][..], &next(3)].concat()),
            "table" => out.extend([&[0, 0, 0, 7, 1, b'k', b'I'][..], &next(4)].concat()),
            other => panic!("unknown type {other}"),
        }
    }
    out
}

proptest! {
    #[test]
    fn every_method_writes_what_it_read(seed in prop::collection::vec(any::<u8>(), 1..32)) {
        for method in generate_methods::read_table(TABLE) {
            let arguments = arguments(&method, &seed);
            let ids = [method.class_id.to_be_bytes(), method.id.to_be_bytes()].concat();
            let payload = [&ids[..], &arguments].concat();
            let read = Method::read(&payload).unwrap();
            prop_assert_eq!(read.id().to_string(), format!("{}.{}", method.class, method.name));
            let mut again = BytesMut::new();
            read.write_arguments(&mut again);
            prop_assert_eq!(&again[..], &arguments[..], "{}", read.id());
            // One byte less or more is no method.
            prop_assert!(arguments.is_empty() || Method::read(&payload[..payload.len() - 1]).is_err());
            prop_assert!(Method::read(&[&payload[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn random_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Method::read(&payload);
        for method in generate_methods::read_table(TABLE) {
            let ids = [method.class_id.to_be_bytes(), method.id.to_be_bytes()].concat();
            let _ = Method::read(&[&ids[..], &payload].concat());
        }
    }
}
