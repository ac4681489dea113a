//! Sessions over connections that cut what is sent into pieces of any size, and over bytes that are no session.
#![cfg(feature = "session")]

use hoist_api::session::{Note, Piece, Reader, Received, SessionError, Side, Stream, Writer};
use hoist_api::types::{SessionExit, TerminalSize};
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

/// What one side sends.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Piece(Stream, Vec<u8>),
    Note(Note),
    KeepAlive,
    Pong,
}

fn sent() -> impl Strategy<Value = Sent> {
    let stream = prop_oneof![
        Just(Stream::Input),
        Just(Stream::Output),
        Just(Stream::Errors)
    ];
    let length = prop_oneof![0..300usize, 65_500..65_600usize, 262_140..=262_144usize];
    prop_oneof![
        4 => (stream, length, any::<u8>()).prop_map(|(stream, length, seed)| {
            let bytes = (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed));
            Sent::Piece(stream, bytes.collect())
        }),
        1 => (any::<u16>(), any::<u16>())
            .prop_map(|(columns, rows)| Sent::Note(Note::Resize(TerminalSize { columns, rows }))),
        1 => Just(Sent::Note(Note::InputEnd)),
        1 => Just(Sent::Note(Note::Interrupt)),
        1 => any::<i32>().prop_map(|code| Sent::Note(Note::Exit(SessionExit {
            code: Some(code),
            reason: Some("said \"so\"".to_owned()),
            ..SessionExit::default()
        }))),
        1 => Just(Sent::KeepAlive),
        1 => Just(Sent::Pong),
    ]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

/// Sends everything through a connection that holds so many bytes; answers what arrives, with neighbours of one stream
/// in one piece.
async fn pass(side: Side, all: &[Sent], holds: usize) -> Vec<Sent> {
    let (here, there) = duplex(holds);
    let send = async {
        let mut writer = Writer::new(here, side);
        let mut piece = Piece::default();
        for sent in all {
            match sent {
                Sent::Piece(stream, bytes) => {
                    piece.space()[..bytes.len()].copy_from_slice(bytes);
                    piece.set_filled(bytes.len());
                    writer.send(*stream, &mut piece).await.expect("sent");
                }
                Sent::Note(note) => writer.note(note).await.expect("sent"),
                Sent::KeepAlive => writer.keep_alive().await.expect("sent"),
                Sent::Pong => writer.pong(b"hello").await.expect("sent"),
            }
        }
        writer.close().await.expect("closed");
    };
    let other = match side {
        Side::Client => Side::Rack,
        Side::Rack => Side::Client,
    };
    let receive = async {
        let mut reader = Reader::new(there, other, &[]);
        let mut arrived = Vec::new();
        loop {
            match reader.next().await.expect("received") {
                Received::Piece(stream, bytes) => arrived.push(Sent::Piece(stream, bytes.to_vec())),
                Received::Note(note) => arrived.push(Sent::Note(note)),
                Received::Ping(_) => panic!("nobody pinged"),
                Received::Closed => return arrived,
            }
        }
    };
    joined(tokio::join!(send, receive).1)
}

/// The same without what says nothing, and with neighbours of one stream in one piece.
fn joined(all: Vec<Sent>) -> Vec<Sent> {
    let mut joined: Vec<Sent> = Vec::new();
    for sent in all {
        match (sent, joined.last_mut()) {
            (Sent::KeepAlive | Sent::Pong, _) => {}
            (Sent::Piece(_, bytes), _) if bytes.is_empty() => {}
            (Sent::Piece(stream, bytes), Some(Sent::Piece(last, before))) if *last == stream => {
                before.extend(bytes);
            }
            (sent, _) => joined.push(sent),
        }
    }
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sent_arrives(all in prop::collection::vec(sent(), 0..8), holds in prop_oneof![1..40usize, 1_000..400_000usize], client: bool) {
        let small: usize = all.iter().map(|sent| match sent { Sent::Piece(_, bytes) => bytes.len(), _ => 0 }).sum();
        let holds = if small > 10_000 { holds.max(1_000) } else { holds };
        let side = if client { Side::Client } else { Side::Rack };
        prop_assert_eq!(block_on(pass(side, &all, holds)), joined(all));
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, split in any::<prop::sample::Index>(), client: bool) {
        let split = split.index(bytes.len() + 1);
        let side = if client { Side::Client } else { Side::Rack };
        block_on(async {
            let mut reader = Reader::new(&bytes[split..], side, &bytes[..split]);
            while !matches!(reader.next().await, Ok(Received::Closed) | Err(_)) {}
        });
    }
}

/// What a rack makes of these bytes, which its client masked with zeros: notes and pieces as text.
fn rack_reads(bytes: &[u8]) -> Result<Vec<String>, SessionError> {
    block_on(async {
        let mut reader = Reader::new(bytes, Side::Rack, &[]);
        let mut read = Vec::new();
        loop {
            match reader.next().await? {
                Received::Piece(stream, bytes) => {
                    read.push(format!("{stream:?} {}", String::from_utf8_lossy(bytes)));
                }
                Received::Note(note) => read.push(format!("{note:?}")),
                Received::Ping(payload) => read.push(format!("ping {payload:?}")),
                Received::Closed => return Ok(read),
            }
        }
    })
}

#[test]
fn other_clients_may_cut_messages_into_frames_and_ping_between_them() {
    let mut bytes = Vec::new();
    let zeros = [0; 4];
    for (first, payload) in [
        (0x02, &b"\x00one"[..]),
        (0x89, b"p"),
        (0x00, b""),
        (0x80, b" two"),
        (0x82, b"\x09unknown"),
        (0x82, b"\x03"),
        (0x88, b""),
    ] {
        bytes.extend([first, 0x80 | payload.len() as u8]);
        bytes.extend(zeros);
        bytes.extend(payload);
    }
    let read = rack_reads(&bytes).expect("a session");
    assert_eq!(
        read,
        [
            "Input one",
            "ping [112]",
            "Input ",
            "Input  two",
            "InputEnd"
        ]
    );
}

#[test]
fn what_breaks_the_protocol_is_named() {
    for (bytes, word) in [
        (&b"\x82\x01\x00"[..], "masked wrongly"),
        (b"\x81\x80\0\0\0\0", "not binary"),
        (b"\xc2\x80\0\0\0\0", "extension"),
        (b"\x82\x80\0\0\0\0", "empty message"),
        (b"\x80\x81\0\0\0\0\x00", "no message"),
        (
            b"\x02\x82\0\0\0\0\x00a\x82\x82\0\0\0\0\x00a",
            "within a message",
        ),
        (b"\x02\x82\0\0\0\0\x04a", "overlong note"),
        (b"\x82\x82\0\0\0\0\x04a", "malformed note"),
        (b"\x09\x80\0\0\0\0", "control frame"),
        (b"\x82\x83\0\0\0\0\x00a", "broke off"),
        (b"", "broke off"),
    ] {
        let error = rack_reads(bytes).expect_err(word);
        assert!(error.to_string().contains(word), "{error} for {word}");
    }
}

#[test]
fn a_client_masks_and_a_piece_can_be_filled_again() {
    block_on(async {
        let (here, mut there) = duplex(1 << 20);
        let mut writer = Writer::new(here, Side::Client);
        let mut piece = Piece::default();
        for text in ["the same", "again"] {
            piece.space()[..text.len()].copy_from_slice(text.as_bytes());
            piece.set_filled(text.len());
            writer.send(Stream::Input, &mut piece).await.expect("sent");
        }
        drop(writer);
        there.shutdown().await.expect("closed");
        let mut reader = Reader::new(there, Side::Rack, &[]);
        let mut text = String::new();
        while let Ok(Received::Piece(Stream::Input, bytes)) = reader.next().await {
            text.push_str(std::str::from_utf8(bytes).expect("text"));
        }
        assert_eq!(text, "the sameagain");
    });
}
