//! ONNX files written by hand: networks so small that what they answer can be said beforehand. Knows protobuf's wire format and as much of ONNX as that takes.

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, inner: Message) -> Self {
        self.bytes(field, &inner.0)
    }
}

const FLOAT: u64 = 1;

/// Weights of this shape.
fn tensor(name: &str, shape: &[u64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let dims = shape.iter().fold(Message::default(), |message, side| message.number(1, *side));
    dims.number(2, FLOAT).text(8, name).bytes(9, &raw)
}

/// A network's input or output; `None` = as many as there are.
fn value(name: &str, shape: [Option<u64>; 4]) -> Message {
    let shape = shape.into_iter().fold(Message::default(), |message, side| {
        let dim = match side {
            Some(side) => Message::default().number(1, side),
            None => Message::default().text(2, "batch"),
        };
        message.message(1, dim)
    });
    let kind = Message::default().message(1, Message::default().number(1, FLOAT).message(2, shape));
    Message::default().text(1, name).message(2, kind)
}

fn node(kind: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[u64])]) -> Message {
    let mut message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
    message = message.text(2, output).text(4, kind);
    for (name, numbers) in attributes {
        let list = numbers.iter().fold(Message::default().text(1, name), |message, number| message.number(8, *number));
        message = message.message(5, list.number(20, 7));
    }
    message
}

fn model(graph: Message) -> Vec<u8> {
    let opset = Message::default().text(1, "").number(2, 13);
    Message::default().number(1, 8).message(7, graph).message(8, opset).0
}

/// Says of each pixel of a square picture how red it is (`weights` of red, green and blue).
pub fn redness(side: u64, weights: [f32; 3]) -> Vec<u8> {
    let graph = Message::default()
        .message(1, node("Conv", &["picture", "weights"], "mask", &[("kernel_shape", &[1, 1])]))
        .text(2, "redness")
        .message(5, tensor("weights", &[1, 3, 1, 1], &weights))
        .message(11, value("picture", [None, Some(3), Some(side), Some(side)]))
        .message(12, value("mask", [None, Some(1), Some(side), Some(side)]));
    model(graph)
}

/// Makes each pixel of a square picture four alike: an enlarging model's shape.
pub fn doubling(side: u64) -> Vec<u8> {
    let graph = Message::default()
        .message(1, node("Resize", &["picture", "", "scales"], "larger", &[]))
        .text(2, "doubling")
        .message(5, tensor("scales", &[4], &[1.0, 1.0, 2.0, 2.0]))
        .message(11, value("picture", [None, Some(3), Some(side), Some(side)]))
        .message(12, value("larger", [None, Some(3), Some(2 * side), Some(2 * side)]));
    model(graph)
}
