//! A neural network as this house needs it: one picture tensor in, one out. The only file that names the ONNX runtime. Knows no pictures.
//!
//! The runtime is embedded (rten): nothing has to be installed, and it takes any number of pictures at once. Another one, on a graphics card
//! say, is another [`Network`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rten::{Dimension, Model, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::prelude::*;
use thiserror::Error;

/// Numbers with their dimensions, the first of which counts the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Tensor {
    /// Of one picture: its values and its shape without the count.
    pub fn pictures(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }
}

/// Bytes that a network takes for one picture, per byte of its input: feature maps of some hundred channels, of which several live at once.
pub const BYTES_PER_INPUT_BYTE: u64 = 150;

/// Why a network gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Fewer pictures at once may fit.
    #[error("there is not enough memory for {0} pictures at once")]
    OutOfMemory(usize),
    #[error("the model can't be read: {0}")]
    Unreadable(String),
    #[error("the model can't work on this picture: {0}")]
    Failed(String),
}

/// What a batch runs on.
pub trait Network: Send + Sync {
    /// Works on all pictures of the tensor at once; the answer has as many.
    fn run(&self, input: &Tensor) -> Result<Tensor, NetworkError>;

    /// Most pictures at once that the model was made for.
    fn batch_max(&self) -> usize;

    /// What it runs on, as results tell it.
    fn device(&self) -> String;
}

/// Opens a file that a run may read.
pub type Open<'o> = dyn Fn(&Path) -> io::Result<File> + 'o;

/// An ONNX file on the processor.
pub struct OnProcessor {
    model: Model,
    input: NodeId,
    output: NodeId,
    batch_max: usize,
    threads: Arc<ThreadPool>,
}

impl OnProcessor {
    /// `output`: by name, or the first.
    pub fn load(path: &Path, open: &Open<'_>, output: Option<&str>, threads: usize) -> Result<Self, NetworkError> {
        let unreadable = |e: String| NetworkError::Unreadable(e);
        // By its path where that is open to us: weights in files of their own are found beside it.
        let model = match File::open(path) {
            Ok(_) => Model::load_file(path),
            Err(_) => {
                let mut bytes = Vec::new();
                open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|e| unreadable(e.to_string()))?;
                Model::load(bytes)
            }
        };
        let model = model.map_err(|e| unreadable(e.to_string()))?;
        let [input] = *model.input_ids() else {
            let count = model.input_ids().len();
            return Err(unreadable(format!("it wants {count} inputs, and a picture is one")));
        };
        let first = model.output_ids().first().copied();
        let output = match output {
            Some(name) => model.find_node(name).ok_or_else(|| unreadable(format!("it has no output `{name}`")))?,
            None => first.ok_or_else(|| unreadable("it has no output".to_owned()))?,
        };
        let batch_max = match model.input_shape(0).as_deref() {
            Some([Dimension::Fixed(count), ..]) => *count,
            _ => usize::MAX,
        };
        Ok(OnProcessor {
            model,
            input,
            output,
            batch_max,
            threads: Arc::new(ThreadPool::with_num_threads(threads.max(1))),
        })
    }
}

impl Network for OnProcessor {
    fn run(&self, input: &Tensor) -> Result<Tensor, NetworkError> {
        let failed = |e: String| NetworkError::Failed(e);
        let pictures = input.pictures();
        // The runtime can't say that memory is refused, it ends the process: so it is asked for beforehand, where fewer are an answer.
        let bytes = input.values.len().saturating_mul(4 * BYTES_PER_INPUT_BYTE as usize);
        if pictures > 1 && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(NetworkError::OutOfMemory(pictures));
        }
        let view = rten_tensor::TensorView::from_data(input.shape.as_slice(), input.values.as_slice());
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        let input = (self.input, ValueOrView::from(view));
        let [answer]: [Value; 1] =
            self.model.run_n(vec![input], [self.output], Some(options)).map_err(|e| failed(e.to_string()))?;
        let answer: rten_tensor::Tensor<f32> =
            answer.try_into().map_err(|_| failed("its answer is not of floating-point numbers".to_owned()))?;
        Ok(Tensor { shape: answer.shape().to_vec(), values: answer.into_data() })
    }

    fn batch_max(&self) -> usize {
        self.batch_max.max(1)
    }

    fn device(&self) -> String {
        "cpu".to_owned()
    }
}
