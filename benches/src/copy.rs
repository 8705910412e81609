//! Bound of memory bandwidth: a copy of the streams of a kernel.
//!
//! A kernel that reads x and writes y is bounded by a copy of x to y; one that reads g and updates
//! p, m and v, by copies of g to each of them. Streams that are only read go to a block in L1.
//! Called by `kernel_ratios`.

/// Maximum number of elements copied at a time: 2 KiB. The streams alternate, as in a kernel, and
/// no copy is large enough to bypass the caches.
const BLOCK: usize = 512;

/// Elements between the offsets of two streams within a page: 1 KiB. With equal offsets, C's
/// `memcpy` copies backwards, which takes three times as long in memory.
const STAGGER: usize = 256;

/// The streams that a kernel reads and writes.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Length of each operand that is only read.
    pub read: Vec<usize>,
    /// Length of each operand that is written, read before or not.
    pub written: Vec<usize>,
}

impl Streams {
    /// `read` and `written` streams of `len` elements each.
    pub fn new(read: usize, written: usize, len: usize) -> Self {
        Self { read: vec![len; read], written: vec![len; written] }
    }
}

/// Memory for copies of the streams.
#[derive(Debug)]
pub struct Copies {
    blocks: usize,
    from: Vec<Stream>,
    to: Vec<Stream>,
    block: [f32; BLOCK],
}

/// A stream in memory of its own.
#[derive(Debug)]
struct Stream {
    memory: Vec<f32>,
    /// Index of its first element in `memory`.
    begin: usize,
    /// Elements per block of the longest stream.
    part: usize,
}

impl Stream {
    fn part(&self, number: usize) -> &[f32] {
        self.memory[self.begin..].chunks(self.part).nth(number).unwrap_or_default()
    }
    fn part_mut(&mut self, number: usize) -> &mut [f32] {
        self.memory[self.begin..].chunks_mut(self.part).nth(number).unwrap_or_default()
    }
}

impl Copies {
    /// Copies of `streams`; `None` if there are none.
    pub fn new(streams: &Streams) -> Option<Self> {
        let longest = *streams.read.iter().chain(&streams.written).max()?;
        let blocks = longest.div_ceil(BLOCK).max(1);
        let mut begins = (0..).step_by(STAGGER);
        let mut stream = |&len: &usize| {
            let begin = begins.next().unwrap_or_default();
            Stream { memory: vec![1.0; begin + len], begin, part: len.div_ceil(blocks).max(1) }
        };
        let from = streams.read.iter().map(&mut stream).collect();
        let to = streams.written.iter().map(stream).collect();
        Some(Self { blocks, from, to, block: [1.0; BLOCK] })
    }

    /// Reads and writes each stream once.
    pub fn run(&mut self) {
        let Self { blocks, from, to, block } = self;
        for number in 0..*blocks {
            let mut sources = from.iter().map(|stream| stream.part(number));
            let mut targets = to.iter_mut().map(|stream| stream.part_mut(number));
            // Pairs of a read and a written stream are copied. Without a counterpart, a stream is
            // copied to or from the block.
            let mut last = None;
            loop {
                let (source, target) = (sources.next(), targets.next());
                if source.is_none() && target.is_none() {
                    break;
                }
                last = source.or(last);
                match (last, target) {
                    (Some(source), Some(target)) => transfer(source, target, block),
                    (Some(source), None) => transfer(source, &mut [], block),
                    (None, Some(target)) => transfer(&[], target, block),
                    (None, None) => {}
                }
            }
        }
        std::hint::black_box((to, block));
    }
}

/// Reads all of `source` and writes all of `target`.
#[inline(always)]
fn transfer(source: &[f32], target: &mut [f32], block: &mut [f32; BLOCK]) {
    let common = source.len().min(target.len());
    let (source, more_read) = source.split_at(common);
    let (target, more_written) = target.split_at_mut(common);
    target.copy_from_slice(source);
    if !more_read.is_empty() {
        block[..more_read.len()].copy_from_slice(more_read);
    }
    if !more_written.is_empty() {
        more_written.copy_from_slice(&block[..more_written.len()]);
    }
}

/// Checks that a copy writes every element. Benchmarks call it before they compare with a copy.
///
/// # Panics
/// If an element is not written.
pub fn check() {
    for (read, written) in
        [(vec![5000], vec![5000]), (vec![1, 3000], vec![750; 3]), (vec![], vec![1025])]
    {
        let mut copies = Copies::new(&Streams { read, written }).expect("there are streams");
        copies.to.iter_mut().for_each(|stream| stream.memory.fill(0.0));
        copies.run();
        assert!(
            copies.to.iter().flat_map(|stream| &stream.memory[stream.begin..]).all(|&x| x == 1.0)
        );
    }
    assert!(Copies::new(&Streams::default()).is_none());
}
