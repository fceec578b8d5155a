//! UBJSON (draft 12), as XGBoost writes it, read into a JSON value.
//!
//! Takes bytes; hands on a value. Depth is bounded and lengths are held against the bytes that are left before
//! anything is allocated, so a hostile file costs no more than a fixed multiple of its size.

use serde_json::{Map, Number, Value};

/// Levels of objects and arrays.
const DEPTH_MAX: usize = 64;

/// Reads one document.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let marker = reader.byte()?;
    reader.value(marker, 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.ended())?;
        self.at += 1;
        Ok(byte)
    }

    fn ended(&self) -> String {
        format!("the file ends at byte {}, in the middle of a value", self.bytes.len())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let part =
            self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(|| self.ended())?;
        self.at += N;
        Ok(*part)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested more than {DEPTH_MAX} levels deep at byte {}", self.at));
        }
        Ok(match marker {
            b'Z' | b'N' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'i' => i8::from_be_bytes(self.take()?).into(),
            b'U' => u8::from_be_bytes(self.take()?).into(),
            b'I' => i16::from_be_bytes(self.take()?).into(),
            b'l' => i32::from_be_bytes(self.take()?).into(),
            b'L' => i64::from_be_bytes(self.take()?).into(),
            b'd' => float(f64::from(f32::from_be_bytes(self.take()?))),
            b'D' => float(f64::from_be_bytes(self.take()?)),
            b'C' => Value::String(char::from(self.byte()?).to_string()),
            b'S' => Value::String(self.text()?),
            b'[' => self.array(depth)?,
            b'{' => self.object(depth)?,
            other => return Err(format!("byte {} is 0x{other:02x}, which starts no value", self.at - 1)),
        })
    }

    fn length(&mut self) -> Result<usize, String> {
        let marker = self.byte()?;
        let place = self.at;
        let length = match marker {
            b'i' | b'U' | b'I' | b'l' | b'L' => self.value(marker, 0)?,
            other => return Err(format!("byte {} is 0x{other:02x}, and a length was expected", place - 1)),
        };
        let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
        let left = self.bytes.len() - self.at;
        match length {
            Some(length) if length <= left => Ok(length),
            _ => Err(format!("byte {place} gives a length that the {left} bytes after it can't hold")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let start = self.at;
        let part = self.bytes.get(start..start + length).ok_or_else(|| self.ended())?;
        self.at += length;
        let text = std::str::from_utf8(part).map_err(|_| format!("the text at byte {start} is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// The type and count of a container, where it gives them.
    fn header(&mut self) -> Result<(Option<u8>, Option<usize>), String> {
        let mut element = None;
        if self.peek() == Some(b'$') {
            self.at += 1;
            element = Some(self.byte()?);
            if self.peek() != Some(b'#') {
                return Err(format!("a typed container at byte {} has no count", self.at));
            }
        }
        let mut count = None;
        if self.peek() == Some(b'#') {
            self.at += 1;
            count = Some(self.length()?);
        }
        if let Some(marker) = element
            && !b"iUIlLdDCS[{".contains(&marker)
        {
            return Err(format!("a container at byte {} has elements of type 0x{marker:02x}", self.at));
        }
        Ok((element, count))
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let (element, count) = self.header()?;
        let mut values = Vec::new();
        loop {
            if count == Some(values.len()) || (count.is_none() && self.peek() == Some(b']')) {
                self.at += usize::from(count.is_none());
                return Ok(Value::Array(values));
            }
            let marker = element.map_or_else(|| self.byte(), Ok)?;
            values.push(self.value(marker, depth + 1)?);
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let (element, count) = self.header()?;
        let mut fields = Map::new();
        let mut read = 0;
        loop {
            if count == Some(read) || (count.is_none() && self.peek() == Some(b'}')) {
                self.at += usize::from(count.is_none());
                return Ok(Value::Object(fields));
            }
            let name = self.text()?;
            let marker = element.map_or_else(|| self.byte(), Ok)?;
            let value = self.value(marker, depth + 1)?;
            fields.insert(name, value);
            read += 1;
        }
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
