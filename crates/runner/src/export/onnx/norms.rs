//! Normalisation layers: standardisation by the training set, batch, group, layer and RMS norm.
//!
//! ONNX has the channels second; `[n, steps, features]` has them last, and is transposed if needed.

use crate::export::onnx::{Attribute, BatchLayout, FLOAT, Graph};

impl Graph<'_> {
    /// Appends the standardisation of each element by its mean and deviation in the training set.
    pub(super) fn standardise(&mut self, path: &str, x: &str, layout: BatchLayout) -> String {
        let [mean, std] = ["mean", "std"].map(|name| self.tensor(&format!("{path}.{name}"), None));
        let flat =
            if layout == BatchLayout::Vector { x.into() } else { self.op("Flatten", &[x], []) };
        let centred = self.op("Sub", &[&flat, &mean], []);
        let scaled = self.op("Div", &[&centred, &std], []);
        if layout == BatchLayout::Vector { scaled } else { self.shaped_as(&scaled, x) }
    }

    /// Appends the inverse of [`standardise`](Self::standardise).
    pub(super) fn unstandardise(&mut self, path: &str, x: &str, layout: BatchLayout) -> String {
        let [mean, std] = ["mean", "std"].map(|name| self.tensor(&format!("{path}.{name}"), None));
        let flat =
            if layout == BatchLayout::Vector { x.into() } else { self.op("Flatten", &[x], []) };
        let scaled = self.op("Mul", &[&flat, &std], []);
        let restored = self.op("Add", &[&scaled, &mean], []);
        if layout == BatchLayout::Vector { restored } else { self.shaped_as(&restored, x) }
    }

    /// Appends a batch norm with the running statistics of each channel.
    pub(super) fn batch_norm(
        &mut self,
        path: &str,
        x: &str,
        layout: BatchLayout,
        epsilon: f64,
    ) -> String {
        self.channels_second(x, layout, |graph, x| {
            let names = ["weight", "bias", "running_mean", "running_var"];
            let [weight, bias, mean, variance] =
                names.map(|name| graph.tensor(&format!("{path}.{name}"), None));
            let inputs = [x, &weight, &bias, &mean, &variance];
            graph.op("BatchNormalization", &inputs, [Attribute::Float("epsilon", epsilon)])
        })
    }

    /// Appends a group norm. The operator set has only instance norm, which is applied to groups
    /// reshaped to channels.
    pub(super) fn group_norm(
        &mut self,
        path: &str,
        x: &str,
        layout: BatchLayout,
        groups: usize,
        epsilon: f64,
    ) -> String {
        let names = ["weight", "bias"].map(|name| format!("{path}.{name}"));
        let channels =
            self.shapes.get(&names[0]).and_then(|shape| shape.first()).copied().unwrap_or(1);
        let dims = match layout {
            BatchLayout::Image => vec![channels, 1, 1],
            BatchLayout::Steps => vec![channels, 1],
            BatchLayout::Vector => vec![channels],
        };
        let [weight, bias] = names.map(|name| self.tensor(&name, Some(&dims)));
        let [one, zero] = [1.0_f32, 0.0]
            .map(|value| self.constant(&[groups], FLOAT, &value.to_le_bytes().repeat(groups)));
        self.channels_second(x, layout, |graph, x| {
            let grouped = graph.reshape(x, &[0, groups as i64, -1]);
            let epsilon = Attribute::Float("epsilon", epsilon);
            let normal = graph.op("InstanceNormalization", &[&grouped, &one, &zero], [epsilon]);
            let normal = graph.shaped_as(&normal, x);
            let scaled = graph.op("Mul", &[&normal, &weight], []);
            graph.op("Add", &[&scaled, &bias], [])
        })
    }

    /// Appends a layer norm over the features of each position.
    pub(super) fn layer_norm(
        &mut self,
        path: &str,
        x: &str,
        layout: BatchLayout,
        epsilon: f64,
    ) -> String {
        self.features_last(x, layout, |graph, x| {
            let [weight, bias] =
                ["weight", "bias"].map(|name| graph.tensor(&format!("{path}.{name}"), None));
            let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", epsilon)];
            graph.op("LayerNormalization", &[x, &weight, &bias], attributes)
        })
    }

    /// Appends an RMS norm over the features of each position.
    pub(super) fn rms_norm(
        &mut self,
        path: &str,
        x: &str,
        layout: BatchLayout,
        epsilon: f64,
    ) -> String {
        self.features_last(x, layout, |graph, x| {
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

    /// Applies `append` to `x` with the features as its last dimension.
    fn features_last(
        &mut self,
        x: &str,
        layout: BatchLayout,
        append: impl FnOnce(&mut Self, &str) -> String,
    ) -> String {
        if layout != BatchLayout::Image {
            return append(self, x);
        }
        let last = self.transpose(x, &[0, 2, 3, 1]);
        let output = append(self, &last);
        self.transpose(&output, &[0, 3, 1, 2])
    }

    /// Applies `append` to `x` with the channels as its second dimension.
    fn channels_second(
        &mut self,
        x: &str,
        layout: BatchLayout,
        append: impl FnOnce(&mut Self, &str) -> String,
    ) -> String {
        if layout != BatchLayout::Steps {
            return append(self, x);
        }
        let second = self.transpose(x, &[0, 2, 1]);
        let output = append(self, &second);
        self.transpose(&output, &[0, 2, 1])
    }

    /// Reshapes `x` to the shape of `like`.
    fn shaped_as(&mut self, x: &str, like: &str) -> String {
        let shape = self.op("Shape", &[like], []);
        self.op("Reshape", &[x, &shape], [])
    }
}
