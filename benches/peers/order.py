"""What moreline's worker draws from a seed: the order of rows and the reward head.

Both sides of a comparison are to see the same rows in the same steps and to start
from the same head. The worker draws both from ChaCha8 (the crates rand_chacha 0.9
and rand 0.9); this is the same stream in Python. Should the worker ever draw
otherwise, the losses of the first step differ, and the benchmark says so.
"""

import math

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


class ChaCha8:
    """The stream `stream` of `ChaCha8Rng::seed_from_u64(seed)`."""

    def __init__(self, seed, stream):
        self.key = [word for word in _seed_words(seed)]
        self.stream = stream
        self.block = 0
        self.words = []

    def u32(self):
        if not self.words:
            self.words = self._next_block()
        return self.words.pop(0)

    def u64(self):
        low = self.u32()
        return low | self.u32() << 32

    def f64(self):
        """Uniform in [0, 1), of 53 bits."""
        return (self.u64() >> 11) * 2.0**-53

    def below(self, bound):
        """Uniform in [0, bound): Canon's method, as `random_range` has it."""
        product = self.u32() * bound
        result, low = product >> 32, product & MASK32
        if low > (-bound & MASK32):
            result += low + (self.u32() * bound >> 32) > MASK32
        return result

    def _next_block(self):
        constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
        place = [self.block & MASK32, self.block >> 32]
        place += [self.stream & MASK32, self.stream >> 32]
        state = constants + self.key + place
        self.block += 1
        mixed = list(state)
        for _ in range(4):
            for column in range(4):
                _quarter(mixed, *(4 * row + column for row in range(4)))
            for column in range(4):
                _quarter(mixed, *(4 * row + (column + row) % 4 for row in range(4)))
        return [(a + b) & MASK32 for a, b in zip(mixed, state)]


def _quarter(x, a, b, c, d):
    for left, right, target, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[left] = (x[left] + x[right]) & MASK32
        word = x[target] ^ x[left]
        x[target] = (word << turn | word >> (32 - turn)) & MASK32


def _seed_words(seed):
    """`seed_from_u64`: eight outputs of PCG32."""
    for _ in range(8):
        seed = (seed * 6364136223846793005 + 11634580027462260723) & MASK64
        word = ((seed >> 18 ^ seed) >> 27) & MASK32
        turn = seed >> 59
        yield (word >> turn | word << (32 - turn)) & MASK32


def shuffle(items, rng):
    """`SliceRandom::shuffle`: one draw serves as many swaps as fit into 32 bits."""
    chunk, left = 0, 1
    for i in range(len(items)):
        if left == 0:
            chunk, left = _chunk(i + 1, rng)
        left -= 1
        index = chunk if left == 0 else chunk % (i + 1)
        chunk //= i + 1
        items[i], items[index] = items[index], items[i]


def _chunk(first, rng):
    bound, following = first, first + 1
    while bound * following <= MASK32:
        bound *= following
        following += 1
    return rng.below(bound), following - first


def permutations(size, seed, stream):
    """Row numbers without end, every epoch a new permutation of the last."""
    rng, items = ChaCha8(seed, stream), list(range(size))
    while True:
        shuffle(items, rng)
        yield from items


def mixed_equally(sizes, rows, seed):
    """(set, row) of the first `rows` rows of `mixing = "equal"`."""
    streams = [permutations(size, seed, 1 + index) for index, size in enumerate(sizes)]
    return [(turn % len(sizes), next(streams[turn % len(sizes)])) for turn in range(rows)]


def one_set(size, rows, seed):
    """The first `rows` rows of a training on a single set."""
    stream = permutations(size, seed, 0)
    return [next(stream) for _ in range(rows)]


def reward_head(hidden, seed):
    """The reward head a training starts from: N(0, 0.02^2) by Box and Muller."""
    rng = ChaCha8(seed, MASK64)
    radius = lambda: math.sqrt(-2.0 * math.log(1.0 - rng.f64()))
    return [0.02 * (radius() * math.cos(2.0 * math.pi * rng.f64())) for _ in range(hidden)]
