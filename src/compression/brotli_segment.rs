//! Segments of a Brotli stream, each made by an encoder of its own, so that a slow response holds no encoder. Knows
//! nothing of HTTP.

use brotli::enc::combined_alloc::BrotliAlloc;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderStateStruct, IsFirst,
};
use brotli::enc::{Allocator, SliceWrapper, SliceWrapperMut, UnionHasher};
use std::any::Any;
use std::cell::RefCell;
use std::io;

/// An empty last block (RFC 7932, section 9.2).
pub(super) const LAST_BLOCK: &[u8] = &[3];

/// The window's size as a power of two: not smaller than a segment with its history.
const WINDOW_BITS: i32 = 16;

/// From this level on the encoder has tables of a moderate size only for a larger window.
const LARGE_WINDOW_LEVEL: u32 = 5;

/// Encoders of the levels below look at no history.
const FIRST_LEVEL_WITH_HISTORY: u32 = 2;

/// Maximum memory of an encoder, in bytes, that a thread keeps for the next one.
const MAX_SPARE_BYTES: usize = 2 << 20;

/// Minimum size of a block, in bytes, that is kept.
const MIN_SPARE_BLOCK_BYTES: usize = 16 << 10;

type EncoderState = BrotliEncoderStateStruct<ReusingAllocator>;

/// Compresses a segment so that all of it can be read.
pub(super) fn compress(
    history: &[u8],
    segment: &[u8],
    level: u32,
    follows: bool,
    to: &mut Vec<u8>,
) -> io::Result<()> {
    let mut encoder = encoder(segment.len(), level, follows);
    if let [.., before, last] = history
        && (FIRST_LEVEL_WITH_HISTORY..).contains(&level)
    {
        encoder.hasher_ = hasher_with_history(history, segment.len(), level);
        encoder.copy_input_to_ring_buffer(history.len(), history);
        encoder.last_flush_pos_ = history.len() as u64;
        encoder.last_processed_pos_ = history.len() as u64;
        // These choose the code of the first literal. An encoder that doesn't know them writes two
        // literals without one first.
        (encoder.prev_byte2_, encoder.prev_byte_) = (*before, *last);
        encoder.is_first_mb = IsFirst::BothCatableBytesWritten;
    }
    let is_done = run(&mut encoder, segment, to);
    BrotliEncoderDestroyInstance(&mut encoder);
    is_done.then_some(()).ok_or_else(|| io::Error::other("Brotli refused a segment"))
}

fn encoder(length: usize, level: u32, follows: bool) -> EncoderState {
    let mut encoder = EncoderState::new(ReusingAllocator);
    let params = &mut encoder.params;
    params.quality = i32::try_from(level).unwrap_or(i32::MAX);
    params.lgwin = WINDOW_BITS + i32::from(level >= LARGE_WINDOW_LEVEL);
    params.size_hint = length;
    params.appendable = true;
    params.catable = follows;
    params.use_dictionary = !follows;
    params.bare_stream = follows;
    encoder
}

/// Where which bytes of the history are. It is taken from an encoder that has the history for its
/// dictionary: were that one to compress as well, matches would end at the dictionary's end, some
/// after one byte, which no code is there for.
fn hasher_with_history(history: &[u8], length: usize, level: u32) -> UnionHasher<ReusingAllocator> {
    let mut encoder = encoder(length, level, true);
    encoder.set_custom_dictionary(history.len(), history);
    let hasher = std::mem::replace(&mut encoder.hasher_, UnionHasher::Uninit);
    BrotliEncoderDestroyInstance(&mut encoder);
    hasher
}

fn run(encoder: &mut EncoderState, segment: &[u8], to: &mut Vec<u8>) -> bool {
    let (mut left, mut position) = (segment.len(), 0);
    to.reserve(segment.len() / 4);
    let mut output = [0; 4096];
    loop {
        let (mut room, mut written) = (output.len(), 0);
        let is_accepted = encoder.compress_stream(
            BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            &mut left,
            segment,
            &mut position,
            &mut room,
            &mut output,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !is_accepted {
            return false;
        }
        to.extend_from_slice(output.get(..written).unwrap_or_default());
        if left == 0 && !encoder.has_more_output() {
            return true;
        }
    }
}

/// Gives an encoder the memory of the one before: it takes more than 1 MB for each segment, and
/// what is freed and allocated all the time stays with the process several times.
#[derive(Clone, Copy, Default)]
struct ReusingAllocator;

thread_local! {
    static SPARE_BLOCKS: RefCell<Vec<SpareBlock>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that nobody uses: a `Vec` of some type, and its capacity in bytes.
struct SpareBlock {
    buffer: Box<dyn Any>,
    size: usize,
}

impl BrotliAlloc for ReusingAllocator {}

impl<T: Clone + Default + 'static> Allocator<T> for ReusingAllocator {
    type AllocatedMemory = ReusedBlock<T>;

    fn alloc_cell(&mut self, length: usize) -> ReusedBlock<T> {
        let size = length * size_of::<T>();
        let mut buffer = match size {
            ..MIN_SPARE_BLOCK_BYTES => Vec::new(),
            _ => take_spare(length).unwrap_or_default(),
        };
        buffer.resize(length, T::default());
        ReusedBlock(buffer)
    }

    fn free_cell(&mut self, ReusedBlock(mut buffer): ReusedBlock<T>) {
        let size = buffer.capacity() * size_of::<T>();
        if size < MIN_SPARE_BLOCK_BYTES {
            return;
        }
        buffer.clear();
        SPARE_BLOCKS.with_borrow_mut(|spare| {
            if spare.iter().map(|it| it.size).sum::<usize>() + size <= MAX_SPARE_BYTES {
                spare.push(SpareBlock { buffer: Box::new(buffer), size });
            }
        });
    }
}

/// A spare buffer for so many values.
fn take_spare<T: 'static>(length: usize) -> Option<Vec<T>> {
    SPARE_BLOCKS.with_borrow_mut(|spare| {
        let fits = |it: &SpareBlock| {
            it.buffer.downcast_ref().is_some_and(|it: &Vec<T>| it.capacity() >= length)
        };
        let found = spare.iter().position(fits)?;
        spare.swap_remove(found).buffer.downcast().ok().map(|it| *it)
    })
}

/// Memory of an encoder.
#[derive(Default)]
struct ReusedBlock<T>(Vec<T>);

impl<T> SliceWrapper<T> for ReusedBlock<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for ReusedBlock<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
