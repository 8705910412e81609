//! What memory can do at most: the streams of a kernel, copied.
//!
//! A kernel that reads x and writes y is bounded by a copy of x to y; one that reads g and updates p, m and v, by copies of g
//! to each of them. What is read alone goes to a block in the first-level cache. `kernel_ratios` calls it.

/// Elements that are copied at a time: 4 KiB. The streams take turns, as they do in a kernel, and no copy is so large that
/// it goes around the caches.
const BLOCK: usize = 1024;

/// Which elements a kernel moves.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// The length of each operand that is read alone.
    pub read: Vec<usize>,
    /// The length of each that is written, whether or not it is read before.
    pub written: Vec<usize>,
}

impl Streams {
    /// `read` and `written` streams of `len` elements each.
    pub fn new(read: usize, written: usize, len: usize) -> Self {
        Self { read: vec![len; read], written: vec![len; written] }
    }
}

/// Memory of that size.
#[derive(Debug)]
pub struct Copies {
    from: Vec<Vec<f32>>,
    to: Vec<Vec<f32>>,
    block: [f32; BLOCK],
}

impl Copies {
    /// None if nothing is moved.
    pub fn new(streams: &Streams) -> Option<Self> {
        let memory = |lengths: &[usize]| lengths.iter().map(|&len| vec![1.0; len]).collect::<Vec<_>>();
        let (from, to) = (memory(&streams.read), memory(&streams.written));
        (!from.is_empty() || !to.is_empty()).then_some(Self { from, to, block: [1.0; BLOCK] })
    }

    /// Reads and writes each stream once.
    pub fn run(&mut self) {
        let Self { from, to, block } = self;
        let longest = from.iter().chain(&*to).map(Vec::len).max().unwrap_or(0);
        let blocks = longest.div_ceil(BLOCK);
        // The part of a stream that belongs to a block.
        let part = |len: usize, number: usize| len * number / blocks..len * (number + 1) / blocks;
        for number in 0..blocks {
            for i in 0..from.len().max(to.len()) {
                let (sources, targets) = (from.len(), to.len());
                let source = (sources > 0).then(|| &from[i % sources]);
                let source = source.map_or(&[][..], |x| &x[part(x.len(), number)]);
                let target = (targets > 0).then(|| &mut to[i % targets]);
                let target = target.map_or(&mut [][..], |x| {
                    let part = part(x.len(), number);
                    &mut x[part]
                });
                let common = source.len().min(target.len());
                let (source, more_read) = source.split_at(common);
                let (target, more_written) = target.split_at_mut(common);
                target.copy_from_slice(source);
                block[..more_read.len()].copy_from_slice(more_read);
                more_written.copy_from_slice(&block[..more_written.len()]);
            }
        }
        std::hint::black_box((to, block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_element_is_written() {
        for (read, written) in [(vec![5000], vec![5000]), (vec![1, 3000], vec![750; 3]), (vec![], vec![1025])]
        {
            let mut copies = Copies::new(&Streams { read, written }).expect("there are streams");
            copies.to.iter_mut().flatten().for_each(|x| *x = 0.0);
            copies.run();
            assert!(copies.to.iter().flatten().all(|&x| x == 1.0));
        }
        assert!(Copies::new(&Streams::default()).is_none());
    }
}
