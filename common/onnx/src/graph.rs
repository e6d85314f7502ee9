//! A graph that is being built: operators over tensors, each computed once however often it is asked for.
//!
//! Field numbers and names of types are those of `onnx.proto`.

use std::collections::HashMap;

use super::OUTPUT;
use super::protobuf::Message;

/// Versions of the operators that are used, and of the file format that has them: onnxruntime 1.15 (2023) and newer.
const OPERATORS: i64 = 19;
const ML_OPERATORS: i64 = 3;
const FILE_FORMAT: i64 = 9;
/// The domain of trees and dictionaries.
const ML: &str = "ai.onnx.ml";

/// A value of the graph, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tensor(String);

/// What a tensor holds; the number is ONNX's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float = 1,
    Integer = 7,
    Text = 8,
    Double = 11,
}

/// A named value of an operator beside its operands.
#[derive(Debug, Clone)]
pub(super) struct Attribute(Message);

impl Attribute {
    fn begin(name: &str, kind: i64) -> Message {
        Message::default().text(1, name).integer(20, kind)
    }

    pub(super) fn float(name: &str, value: f32) -> Self {
        Self(Self::begin(name, 1).float(2, value))
    }

    pub(super) fn integer(name: &str, value: i64) -> Self {
        Self(Self::begin(name, 2).integer(3, value))
    }

    pub(super) fn text(name: &str, value: &str) -> Self {
        Self(Self::begin(name, 3).text(4, value))
    }

    pub(super) fn floats(name: &str, values: &[f32]) -> Self {
        Self(Self::begin(name, 6).floats(7, values))
    }

    pub(super) fn integers(name: &str, values: &[i64]) -> Self {
        Self(Self::begin(name, 7).integers(8, values))
    }

    pub(super) fn texts<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self(values.into_iter().fold(Self::begin(name, 8), |attribute, value| attribute.text(9, value)))
    }
}

/// The graph of a model.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Message>,
    inputs: Vec<Message>,
    constants: Vec<Message>,
    /// Tensors by what they are, so that nothing stands in the graph twice.
    known: HashMap<Message, Tensor>,
    /// What the names of computed tensors begin with: no input's does.
    prefix: String,
    output: String,
    /// An input, whose shape is that of every column.
    column: Option<Tensor>,
}

impl Graph {
    /// An empty graph, whose inputs will have the names `inputs`.
    pub(super) fn new(inputs: &[&str]) -> Self {
        let longer = |mut name: String, clashes: fn(&str, &str) -> bool| {
            while inputs.iter().any(|input| clashes(input, &name)) {
                name.push('_');
            }
            name
        };
        Self {
            nodes: Vec::new(),
            inputs: Vec::new(),
            constants: Vec::new(),
            known: HashMap::new(),
            prefix: longer("_".to_owned(), |input, name| input.starts_with(name)),
            output: longer(OUTPUT.to_owned(), |input, name| input == name),
            column: None,
        }
    }

    /// An input column. `doc` says what it takes.
    pub(super) fn input(&mut self, name: &str, element: Element, doc: &str) -> Tensor {
        self.inputs.push(column(name, element).text(3, doc));
        let tensor = Tensor(name.to_owned());
        self.column.get_or_insert_with(|| tensor.clone());
        tensor
    }

    /// A column of one constant, as long as the others.
    pub(super) fn repeated(&mut self, constant: &Tensor) -> Option<Tensor> {
        let column = self.column.clone()?;
        let shape = self.op("Shape", &[&column]);
        Some(self.op("Expand", &[constant, &shape]))
    }

    /// An operator without attributes.
    pub(super) fn op(&mut self, operator: &str, operands: &[&Tensor]) -> Tensor {
        self.op_with(operator, operands, &[])
    }

    pub(super) fn op_with(&mut self, operator: &str, operands: &[&Tensor], attributes: &[Attribute]) -> Tensor {
        let node = operands.iter().fold(Message::default(), |node, operand| node.text(1, &operand.0));
        let node = node.text(4, operator).messages(5, attributes.iter().map(|Attribute(message)| message));
        self.add(node)
    }

    /// An operator of trees and dictionaries.
    pub(super) fn ml(&mut self, operator: &str, operand: &Tensor, attributes: &[Attribute]) -> Tensor {
        let node = Message::default().text(1, &operand.0).text(4, operator).text(7, ML);
        self.add(node.messages(5, attributes.iter().map(|Attribute(message)| message)))
    }

    fn add(&mut self, node: Message) -> Tensor {
        if let Some(tensor) = self.known.get(&node) {
            return tensor.clone();
        }
        let name = format!("{}{}", self.prefix, self.known.len());
        self.nodes.push(node.clone().text(2, &name).text(3, &name));
        self.known.entry(node).or_insert(Tensor(name)).clone()
    }

    pub(super) fn cast(&mut self, tensor: &Tensor, element: Element) -> Tensor {
        self.op_with("Cast", &[tensor], &[Attribute::integer("to", element as i64)])
    }

    /// The nearest whole number; halves go away from zero.
    pub(super) fn round(&mut self, numbers: &Tensor) -> Tensor {
        let size = self.op("Abs", &[numbers]);
        let floor = self.op("Floor", &[&size]);
        let rest = self.op("Sub", &[&size, &floor]);
        let (half, one) = (self.number(0.5), self.number(1.0));
        let up = self.op("GreaterOrEqual", &[&rest, &half]);
        let next = self.op("Add", &[&floor, &one]);
        let rounded = self.choose(&up, &next, &floor);
        let sign = self.op("Sign", &[numbers]);
        self.op("Mul", &[&rounded, &sign])
    }

    /// Where `mask` holds `yes`, else `no`.
    pub(super) fn choose(&mut self, mask: &Tensor, yes: &Tensor, no: &Tensor) -> Tensor {
        self.op("Where", &[mask, yes, no])
    }

    /// A constant 64-bit float that goes with every column.
    pub(super) fn number(&mut self, value: f64) -> Tensor {
        self.constant(Element::Double, &[1, 1], &value.to_le_bytes())
    }

    /// A constant 32-bit float that goes with every column.
    pub(super) fn float(&mut self, value: f32) -> Tensor {
        self.constant(Element::Float, &[1, 1], &value.to_le_bytes())
    }

    /// A constant integer that goes with every column.
    pub(super) fn integer(&mut self, value: i64) -> Tensor {
        self.constant(Element::Integer, &[1, 1], &value.to_le_bytes())
    }

    /// A constant text that goes with every column.
    pub(super) fn text(&mut self, text: &str) -> Tensor {
        self.store(Message::default().integers(1, &[1, 1]).integer(2, Element::Text as i64).text(6, text))
    }

    /// A constant list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::Integer, &[values.len()], &bytes)
    }

    /// A constant table of 32-bit floats, row by row.
    pub(super) fn table(&mut self, columns: usize, values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::Float, &[values.len() / columns.max(1), columns], &bytes)
    }

    fn constant(&mut self, element: Element, shape: &[usize], bytes: &[u8]) -> Tensor {
        let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        self.store(Message::default().integers(1, &shape).integer(2, element as i64).bytes(9, bytes))
    }

    fn store(&mut self, constant: Message) -> Tensor {
        if let Some(tensor) = self.known.get(&constant) {
            return tensor.clone();
        }
        let name = format!("{}{}", self.prefix, self.known.len());
        self.constants.push(constant.clone().text(8, &name));
        self.known.entry(constant).or_insert(Tensor(name)).clone()
    }

    /// The file: the graph, whose output is `prediction`, and what else there is to say.
    pub(super) fn into_model(mut self, prediction: &Tensor, properties: &[(&str, String)]) -> Vec<u8> {
        let output = Message::default().text(1, &prediction.0).text(2, &self.output).text(3, &self.output);
        self.nodes.push(output.text(4, "Identity"));
        let graph = Message::default()
            .messages(1, &self.nodes)
            .text(2, "engagement_ml")
            .messages(5, &self.constants)
            .messages(11, &self.inputs)
            .message(12, &column(&self.output, Element::Double));
        let operators = |domain: &str, version: i64| Message::default().text(1, domain).integer(2, version);
        let model = Message::default()
            .integer(1, FILE_FORMAT)
            .text(2, "engagement_ml")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, &graph)
            .message(8, &operators("", OPERATORS))
            .message(8, &operators(ML, ML_OPERATORS));
        let property = |(name, value): &(&str, String)| Message::default().text(1, name).text(2, value);
        properties.iter().map(property).fold(model, |model, property| model.message(14, &property)).into_bytes()
    }
}

/// The description of a column: as many rows as there are, and one value in each.
fn column(name: &str, element: Element) -> Message {
    let rows = Message::default().text(2, "rows");
    let one = Message::default().integer(1, 1);
    let shape = Message::default().message(1, &rows).message(1, &one);
    let tensor = Message::default().integer(1, element as i64).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
