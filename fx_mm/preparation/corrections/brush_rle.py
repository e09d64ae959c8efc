"""Run lengths of brush masks, as Label Studio has them.

A stream of bits: 32 for the number of values, 5 for the bits of a value less
1, four times 4 for the bits of a length less 1. Then blocks: 1 bit, whether
one value is repeated; 2 bits, which of the four lengths; the length less 1;
the value, or that many values. The values are the pixels of an RGBA picture,
row by row, 255 where the mask is. Decoder: ``@thi.ng/rle-pack``, by which
Label Studio's pages read and write it.
"""

from collections.abc import Sequence

import numpy as np

SIZES = (3, 4, 8, 16)
CHANNELS = 4
VALUE_BITS = 8


def encode_brush(mask: np.ndarray) -> list[int]:
    """Encode a mask.

    Args:
        mask (np.ndarray): bool (H, W).

    Returns:
        list[int]: Bytes.
    """
    flat = np.asarray(mask, bool).ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], ends, [flat.size]])
    bits = [
        f'{flat.size * CHANNELS:032b}{VALUE_BITS - 1:05b}',
        *(f'{size - 1:04b}' for size in SIZES),
    ]
    longest = 1 << SIZES[-1]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        value = 255 if flat[start] else 0
        left = (end - start) * CHANNELS
        while left:
            length = min(left, longest)
            index = next(i for i, s in enumerate(SIZES) if length <= 1 << s)
            bits.append(
                f'1{index:02b}{length - 1:0{SIZES[index]}b}'
                f'{value:0{VALUE_BITS}b}'
            )
            left -= length
    text = ''.join(bits)
    text += '0' * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def decode_brush(
    rle: Sequence[int], height: int, width: int, where: str
) -> np.ndarray:
    """Decode a mask.

    Args:
        rle (Sequence[int]): Bytes.
        height (int): Of the picture.
        width (int): Of the picture.
        where (str): What it is of, for the error.

    Returns:
        np.ndarray: bool (H, W), where the picture is not transparent.

    Raises:
        ValueError: If the bytes are not those of a picture of this size.
    """
    text = ''.join(f'{byte:08b}' for byte in bytes(rle))
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise ValueError(f'{where}: the run lengths of a mask are cut off')
        number = int(text[place : place + count], 2)
        place += count
        return number

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    if total != height * width * CHANNELS or word != VALUE_BITS:
        raise ValueError(
            f'{where}: a mask has {total} values of {word} bits, an image of '
            f'{width} x {height} pixels {height * width * CHANNELS} of 8'
        )
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        if done + length > total:
            raise ValueError(f'{where}: the run lengths of a mask run over')
        if repeated:
            values[done : done + length] = read(word)
        else:
            values[done : done + length] = [read(word) for _ in range(length)]
        done += length
    return values.reshape(height, width, CHANNELS)[..., -1] > 0
