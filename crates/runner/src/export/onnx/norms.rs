//! Normalisation: of the input by the training set, over the batch, over groups of channels, over the features of a place.
//!
//! ONNX has the channels second; `[n, steps, features]` has them last, and is turned round where that matters.

use crate::export::onnx::{Attribute, FLOAT, Graph, Rows};

impl Graph<'_> {
    /// Each element by the mean and deviation that the training set has there.
    pub(super) fn standardise(&mut self, path: &str, x: &str, rows: Rows) -> String {
        let [mean, std] = ["mean", "std"].map(|name| self.tensor(&format!("{path}.{name}"), None));
        let flat = if rows == Rows::Vector { x.into() } else { self.op("Flatten", &[x], []) };
        let centred = self.op("Sub", &[&flat, &mean], []);
        let scaled = self.op("Div", &[&centred, &std], []);
        if rows == Rows::Vector { scaled } else { self.shaped_as(&scaled, x) }
    }

    /// The inverse of [`standardise`](Self::standardise).
    pub(super) fn unstandardise(&mut self, path: &str, x: &str, rows: Rows) -> String {
        let [mean, std] = ["mean", "std"].map(|name| self.tensor(&format!("{path}.{name}"), None));
        let flat = if rows == Rows::Vector { x.into() } else { self.op("Flatten", &[x], []) };
        let scaled = self.op("Mul", &[&flat, &std], []);
        let restored = self.op("Add", &[&scaled, &mean], []);
        if rows == Rows::Vector { restored } else { self.shaped_as(&restored, x) }
    }

    /// Each channel by its running statistics.
    pub(super) fn batch_norm(&mut self, path: &str, x: &str, rows: Rows, epsilon: f64) -> String {
        self.channels_second(x, rows, |graph, x| {
            let names = ["weight", "bias", "running_mean", "running_var"];
            let [weight, bias, mean, variance] =
                names.map(|name| graph.tensor(&format!("{path}.{name}"), None));
            let inputs = [x, &weight, &bias, &mean, &variance];
            graph.op("BatchNormalization", &inputs, [Attribute::Float("epsilon", epsilon)])
        })
    }

    /// Each group of channels of a row with mean 0 and variance 1. The operator set has that of single channels alone, and takes a
    /// group for one.
    pub(super) fn group_norm(
        &mut self,
        path: &str,
        x: &str,
        rows: Rows,
        groups: usize,
        epsilon: f64,
    ) -> String {
        let names = ["weight", "bias"].map(|name| format!("{path}.{name}"));
        let channels =
            self.shapes.get(&names[0]).and_then(|shape| shape.first()).copied().unwrap_or(1);
        let dims = match rows {
            Rows::Image => vec![channels, 1, 1],
            Rows::Steps => vec![channels, 1],
            Rows::Vector => vec![channels],
        };
        let [weight, bias] = names.map(|name| self.tensor(&name, Some(&dims)));
        let [one, zero] = [1.0_f32, 0.0]
            .map(|value| self.constant(&[groups], FLOAT, &value.to_le_bytes().repeat(groups)));
        self.channels_second(x, rows, |graph, x| {
            let grouped = graph.reshape(x, &[0, groups as i64, -1]);
            let epsilon = Attribute::Float("epsilon", epsilon);
            let normal = graph.op("InstanceNormalization", &[&grouped, &one, &zero], [epsilon]);
            let normal = graph.shaped_as(&normal, x);
            let scaled = graph.op("Mul", &[&normal, &weight], []);
            graph.op("Add", &[&scaled, &bias], [])
        })
    }

    /// The features of each place with mean 0 and variance 1.
    pub(super) fn layer_norm(&mut self, path: &str, x: &str, rows: Rows, epsilon: f64) -> String {
        self.features_last(x, rows, |graph, x| {
            let [weight, bias] =
                ["weight", "bias"].map(|name| graph.tensor(&format!("{path}.{name}"), None));
            let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", epsilon)];
            graph.op("LayerNormalization", &[x, &weight, &bias], attributes)
        })
    }

    /// The features of each place with mean square 1.
    pub(super) fn rms_norm(&mut self, path: &str, x: &str, rows: Rows, epsilon: f64) -> String {
        self.features_last(x, rows, |graph, x| {
            let (weight, epsilon) =
                (graph.tensor(&format!("{path}.weight"), None), graph.number(epsilon));
            let square = graph.op("Mul", &[x, x], []);
            let mean = graph.op("ReduceMean", &[&square], [Attribute::Ints("axes", vec![-1])]);
            let shifted = graph.op("Add", &[&mean, &epsilon], []);
            let root = graph.op("Sqrt", &[&shifted], []);
            let scaled = graph.op("Div", &[x, &root], []);
            graph.op("Mul", &[&scaled, &weight], [])
        })
    }

    /// What `make` makes of `x`, whose last dimension are the features of a place.
    fn features_last(
        &mut self,
        x: &str,
        rows: Rows,
        make: impl FnOnce(&mut Self, &str) -> String,
    ) -> String {
        if rows != Rows::Image {
            return make(self, x);
        }
        let last = self.transpose(x, &[0, 2, 3, 1]);
        let made = make(self, &last);
        self.transpose(&made, &[0, 3, 1, 2])
    }

    /// What `make` makes of `x`, whose second dimension are the channels.
    fn channels_second(
        &mut self,
        x: &str,
        rows: Rows,
        make: impl FnOnce(&mut Self, &str) -> String,
    ) -> String {
        if rows != Rows::Steps {
            return make(self, x);
        }
        let second = self.transpose(x, &[0, 2, 1]);
        let made = make(self, &second);
        self.transpose(&made, &[0, 2, 1])
    }

    /// `x` with the dimensions of `like`.
    fn shaped_as(&mut self, x: &str, like: &str) -> String {
        let shape = self.op("Shape", &[like], []);
        self.op("Reshape", &[x, &shape], [])
    }
}
