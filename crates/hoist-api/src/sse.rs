//! Framing of streams: server-sent events, so that `curl` can read them.
//!
//! A stream is any number of `line` events, then one `end` event with what the whole came to, or one `error` event. A
//! stream that stops before either was cut off: its reader must not take it for complete.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;

/// The longest event that a reader takes, in bytes.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// The rack sends [`KEEP_ALIVE`] when it sent nothing for so many seconds.
pub const KEEP_ALIVE_SECONDS: u64 = 15;
/// A reader gives a stream up that was silent for so many seconds.
pub const SILENCE_MAX_SECONDS: u64 = 60;
/// Sent when nothing else is, so that both sides notice a dead connection.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// One item of a stream: a line, or its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
#[schemars(rename = "StreamOf{T}EndingWith{E}")]
pub enum Streamed<T, E> {
    /// One more.
    Line(T),
    /// The stream is complete, and this is what it came to.
    End(E),
    /// The rack could not go on.
    Error(ErrorBody),
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its name; `message` when the sender gave none.
    pub event: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SseError {
    /// Bytes that are no text.
    #[error("the stream holds bytes that are not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// An event above [`EVENT_BYTES_MAX`].
    #[error("the stream holds an event of more than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// An event whose data is not what it should be.
    #[error("the stream holds a malformed `{event}` event")]
    BadData {
        /// The event.
        event: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Frame {
    /// The text on the wire. Line ends in `data` become lines of the event; `event` must have none.
    pub fn encode(&self) -> String {
        let mut text = format!("event: {}\n", self.event);
        for line in self.data.split('\n') {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

impl<T: Serialize, E: Serialize> Streamed<T, E> {
    /// The item as an event. JSON escapes line ends, so it is always one line of data.
    pub fn to_frame(&self) -> Result<Frame, serde_json::Error> {
        let (event, data) = match self {
            Self::Line(line) => ("line", serde_json::to_string(line)?),
            Self::End(end) => ("end", serde_json::to_string(end)?),
            Self::Error(error) => ("error", serde_json::to_string(error)?),
        };
        Ok(Frame {
            event: event.to_owned(),
            data,
        })
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> Streamed<T, E> {
    /// The item of an event; none for events that this version does not know.
    pub fn from_frame(frame: &Frame) -> Result<Option<Self>, SseError> {
        let item = match frame.event.as_str() {
            "line" => serde_json::from_str(&frame.data).map(Self::Line),
            "end" => serde_json::from_str(&frame.data).map(Self::End),
            "error" => serde_json::from_str(&frame.data).map(Self::Error),
            _ => return Ok(None),
        };
        item.map(Some).map_err(|source| SseError::BadData {
            event: frame.event.clone(),
            source,
        })
    }
}

/// Takes a stream apart, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    begun: bool,
    event: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes the next piece and appends the events that it completes to `frames`.
    pub fn push(&mut self, piece: &[u8], frames: &mut Vec<Frame>) -> Result<(), SseError> {
        let mut rest = piece;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.line
                .extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(SseError::TooLong);
            }
            let Some(end) = end else { break };
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let text = std::str::from_utf8(&line).map_err(SseError::NotText)?;
            frames.extend(self.take_line(text));
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Option<Frame> {
        let line = if self.begun {
            line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        std::mem::take(&mut self.has_data).then_some(Frame { event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Frame> {
        let (mut parser, mut frames) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser
                .push(piece, &mut frames)
                .expect("a well-formed stream");
        }
        frames
    }

    fn frame(event: &str, data: &str) -> Frame {
        Frame {
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_rules_of_the_format() {
        let text = "\u{feff}: comment\r\n\r\nevent: a\r\ndata: 1\r\ndata:2\r\rdata\n\nevent: no data\n\nid: 7\ndata: x\n\n\
                    data: never ended";
        let expected = vec![
            frame("a", "1\n2"),
            frame("message", ""),
            frame("message", "x"),
        ];
        assert_eq!(parse(&[text.as_bytes()]), expected);
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_memory() {
        let (mut parser, mut frames) = (Parser::default(), Vec::new());
        let piece = [b'x'; 65_536];
        let refused =
            (0..=EVENT_BYTES_MAX / piece.len()).any(|_| parser.push(&piece, &mut frames).is_err());
        assert!(refused);
    }

    #[test]
    fn unknown_events_are_skipped_and_bad_data_is_not() {
        type Item = Streamed<u32, String>;
        assert!(matches!(Item::from_frame(&frame("later", "{}")), Ok(None)));
        assert!(matches!(
            Item::from_frame(&frame("end", "\"x\"")),
            Ok(Some(Streamed::End(_)))
        ));
        assert!(matches!(
            Item::from_frame(&frame("line", "\"x\"")),
            Err(SseError::BadData { .. })
        ));
    }

    proptest! {
        #[test]
        fn split_anywhere(
            frames in prop::collection::vec(("[a-z]{1,8}", "[^\r]{0,40}"), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let frames: Vec<_> = frames.iter().map(|(event, data)| frame(event, data)).collect();
            let text: String = frames.iter().map(|frame| frame.encode() + KEEP_ALIVE).collect();
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&pieces), frames);
        }

        #[test]
        fn line_ends_do_not_matter(
            frames in prop::collection::vec(("[a-z]{1,8}", "[^\r]{0,40}"), 0..6),
            end in prop::sample::select(vec!["\r", "\r\n"]),
        ) {
            let frames: Vec<_> = frames.iter().map(|(event, data)| frame(event, data)).collect();
            let text: String = frames.iter().map(Frame::encode).collect::<String>().replace('\n', end);
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            prop_assert_eq!(parse(&bytes), frames);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parser::default().push(&bytes, &mut Vec::new());
        }

        #[test]
        fn items_and_back(line in "\\PC*", number: u32) {
            for item in [Streamed::Line(line), Streamed::End(number)] {
                let frame = item.to_frame().expect("plain values");
                let [again] = &parse(&[frame.encode().as_bytes()])[..] else { panic!("one event") };
                prop_assert_eq!(Streamed::from_frame(again).expect("well formed"), Some(item));
            }
        }
    }
}
