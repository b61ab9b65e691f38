"""What can be measured in a picture: light, colour, grain at several scales, direction, order.

Every measure is a plain figure with a name. Light and grain are measured relative to the picture's
own contrast, so that exposure and toning change little. Names end in the place (`top`, `middle`,
`low`) or in the scale: 0 is the finest (single pixels of a picture 208 pixels high), each next
twice as wide.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Measures = dict[str, float]

SHORT_SIDE = 208
"""Pictures are brought to this shorter side before anything is measured."""
LEVELS = 5
"""Scales of the Laplacian pyramid."""
PLACES = ("top", "middle", "low")
HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "pink")


def measure(rgb: NDArray[np.uint8]) -> Measures:
    """All measures of an RGB picture of any size; black bars around it are cut off first."""
    frame = normalised(rgb)
    grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)
    out: Measures = {}
    out |= _light(grey)
    out |= _colour(frame, grey)
    unit = (grey - grey.mean()) / max(float(grey.std()), 0.02)
    bands = _pyramid(unit)
    out |= _grain(bands)
    out |= _direction(unit)
    out |= _order(unit)
    return out


def normalised(rgb: NDArray[np.uint8]) -> Plane:
    """The picture without black bars, shorter side `SHORT_SIDE`, RGB in 0..1. Panoramas of more
    than 4 to 1 are squeezed."""
    lit = rgb.max(axis=2) > 10
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.02), np.flatnonzero(lit.mean(axis=0) > 0.02)
    if len(rows) > 8 and len(columns) > 8:
        rgb = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    zoom = SHORT_SIDE / min(rgb.shape[:2])
    width, height = (min(round(n * zoom), 4 * SHORT_SIDE) for n in (rgb.shape[1], rgb.shape[0]))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(rgb), (width, height), interpolation=method)
    return np.asarray(resized, np.float32) / np.float32(255)


def _moments(plane: Plane) -> tuple[float, float, float]:
    """Spread, skewness and (log) kurtosis."""
    flat = plane - plane.mean()
    square = flat * flat
    spread = max(float(square.mean()) ** 0.5, 1e-4)
    skew = float((square * flat).mean()) / spread**3
    kurtosis = float((square * square).mean()) / spread**4
    return spread, float(np.clip(skew, -6, 6)), float(np.log(max(kurtosis, 1.0)))


def _light(grey: Plane) -> Measures:
    spread, skew, kurtosis = _moments(grey)
    mean = float(grey.mean())
    low, dark, half, light, high = np.percentile(grey[::2, ::2], [1, 10, 50, 90, 99])
    out = {
        "brightness": mean,
        "contrast": spread,
        "light_skew": skew,
        "light_peaked": kurtosis,
        "highlights": float((high - half) / spread),
        "shadows": float((half - low) / spread),
        "deciles": float((light - dark) / spread),
    }
    for place, part in zip(PLACES, np.array_split(grey, 3), strict=True):
        out[f"light_{place}"] = (float(part.mean()) - mean) / spread
        out[f"contrast_{place}"] = float(part.std()) / spread
    height, width = grey.shape
    core = grey[height // 4 : -height // 4, width // 4 : -width // 4]
    out["light_centre"] = (float(core.mean()) - mean) / spread
    rows, columns = grey.mean(axis=1), grey.mean(axis=0)
    out["rows_differ"] = float(rows.std()) / spread
    out["columns_differ"] = float(columns.std()) / spread
    smooth = np.convolve(rows, np.ones(8) / 8, "valid")
    step = np.abs(smooth[8:] - smooth[:-8])
    out["horizon"] = float(step.max()) / spread
    out["horizon_height"] = float(step.argmax()) / len(step)
    return out


def _colour(frame: Plane, grey: Plane) -> Measures:
    small = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    chroma = saturation * value
    total = float(chroma.sum()) + 1e-3
    sector = np.asarray((hue + 22.5) / 45, np.int32) % 8
    shares = np.bincount(sector.ravel(), weights=chroma.ravel(), minlength=8) / total
    out = {f"hue_{name}": float(share) for name, share in zip(HUES, shares, strict=True)}
    warmth = small[..., 0] - small[..., 2]
    luminance = small @ np.array([0.299, 0.587, 0.114], np.float32)
    deviation = luminance - luminance.mean()
    spread = float(deviation.std()) + 0.02
    out["saturation"] = float(saturation.mean())
    out["chroma"] = float(chroma.mean())
    out["chroma_spread"] = float(chroma.std())
    out["warmth"] = float(warmth.mean())
    out["warmth_spread"] = float(warmth.std())
    out["bright_is_warm"] = float((deviation * warmth).mean()) / spread
    out["bright_is_colourful"] = float((deviation * chroma).mean()) / spread
    bright = luminance >= np.percentile(luminance, 92)
    out["highlight_chroma"] = float(chroma[bright].mean())
    out["highlight_warmth"] = float(warmth[bright].mean())
    out["white"] = float(((value > 0.85) & (saturation < 0.15)).mean())
    for place, part in zip(PLACES, np.array_split(np.arange(64), 3), strict=True):
        out[f"warmth_{place}"] = float(warmth[part].mean())
        out[f"chroma_{place}"] = float(chroma[part].mean())
        out[f"greenness_{place}"] = float(
            (small[part, :, 1] - (small[part, :, 0] + small[part, :, 2]) / 2).mean()
        )
    return out


def _pyramid(unit: Plane) -> list[Plane]:
    bands = []
    for _ in range(LEVELS):
        down = cv2.pyrDown(unit)
        up = cv2.pyrUp(down, dstsize=(unit.shape[1], unit.shape[0]))
        bands.append(np.asarray(unit - up, np.float32))
        unit = np.asarray(down, np.float32)
    return bands


def _grain(bands: list[Plane]) -> Measures:
    """How much there is at each scale, where, and whether it is lines of light or of shadow."""
    out: Measures = {}
    for level, band in enumerate(bands):
        spread, skew, kurtosis = _moments(band)
        out[f"grain_{level}"] = float(np.log(spread + 0.01))
        out[f"sparks_{level}"] = skew
        out[f"sparse_{level}"] = kurtosis
        for place, part in zip(PLACES, np.array_split(band, 3), strict=True):
            share = float(part.std()) / spread
            out[f"grain_{level}_{place}"] = float(np.log(share + 0.05))
    for level in (1, 2):
        energy = cv2.resize(bands[level] ** 2, (16, 16), interpolation=cv2.INTER_AREA)
        spread_energy = np.sqrt(np.maximum(energy, 0))
        out[f"smooth_{level}"] = float((spread_energy < 0.06).mean())
        out[f"smooth_{level}_top"] = float((spread_energy[:6] < 0.06).mean())
        out[f"patchy_{level}"] = float(spread_energy.std() / (spread_energy.mean() + 0.02))
    return out


def _direction(unit: Plane) -> Measures:
    """The structure tensor at a fine and a coarse scale: which way lines run, how straight they
    are, from where the relief is lit."""
    out: Measures = {}
    for name, plane in (("fine", unit), ("coarse", cv2.pyrDown(cv2.pyrDown(unit)))):
        dx = cv2.Scharr(plane, cv2.CV_32F, 1, 0) / 32
        dy = cv2.Scharr(plane, cv2.CV_32F, 0, 1) / 32
        out |= _tensor(np.asarray(dx, np.float32), np.asarray(dy, np.float32), name)
    return out


def _tensor(dx: Plane, dy: Plane, name: str) -> Measures:
    xx, yy, xy = dx * dx, dy * dy, dx * dy
    size = (max(4, dx.shape[1] // 8), max(4, dx.shape[0] // 8))
    xx8, yy8, xy8 = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (xx, yy, xy))
    energy = xx8 + yy8 + 1e-5
    along, across = (yy8 - xx8) / energy, 2 * xy8 / energy
    coherence = np.sqrt(along * along + across * across)
    weight = energy / energy.sum()
    out = {
        f"lying_{name}": float((weight * along).sum()),
        f"slanting_{name}": float((weight * across).sum()),
        f"slanted_{name}": abs(float((weight * across).sum())),
        f"coherence_{name}": float((weight * coherence).sum()),
        f"straight_{name}": float((coherence > 0.85).mean()),
        f"lying_cells_{name}": float((along > 0.6).mean()),
        f"standing_cells_{name}": float((along < -0.6).mean()),
        f"one_way_{name}": float(np.hypot((weight * along).sum(), (weight * across).sum())),
        f"lit_from_above_{name}": _moments(dy)[1],
        f"lit_from_side_{name}": abs(_moments(dx)[1]),
        f"edges_sparse_{name}": _moments(np.sqrt(xx + yy))[2],
    }
    for place, a, e in zip(
        PLACES, np.array_split(along, 3), np.array_split(energy, 3), strict=True
    ):
        out[f"lying_{name}_{place}"] = float((a * e).sum() / e.sum())
    height, width = dx.shape
    x = np.linspace(-1, 1, width, dtype=np.float32) * width
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * height
    radial = (dx * x + dy * y) ** 2 / (x * x + y * y + 1)
    out[f"radial_{name}"] = float(radial.sum() / ((xx + yy).sum() + 1e-6))
    return out


def _order(unit: Plane) -> Measures:
    """How regular: the strongest repeated period, and the spectrum's slope and direction."""
    square = cv2.resize(unit, (128, 128), interpolation=cv2.INTER_AREA)
    window = np.hanning(128).astype(np.float32)
    spectrum = np.abs(np.fft.rfft2(square * window[:, None] * window)) ** 2
    fy = np.fft.fftfreq(128)[:, None] * 128
    fx = np.fft.rfftfreq(128)[None] * 128
    radius = np.hypot(fx, fy)
    ring = np.asarray(radius, np.int32)
    power = np.bincount(ring.ravel(), spectrum.ravel()) / np.bincount(ring.ravel())
    relative = spectrum / (power[ring] + 1e-6)
    middle = (radius > 5) & (radius < 48)
    out = {"repeats": _log(relative[middle].max())}
    axis_x = middle & (np.abs(fy) < 1.5)
    axis_y = middle & (np.abs(fx) < 1.5)
    out["repeats_across"] = _log(relative[axis_x].mean())
    out["repeats_down"] = _log(relative[axis_y].mean())
    out["spectrum_uneven"] = _log(relative[middle].std())
    bands = [
        float(np.log(power[a:b].mean() + 1e-6))
        for a, b in ((2, 4), (4, 8), (8, 16), (16, 32), (32, 60))
    ]
    for i in range(4):
        out[f"spectrum_{i}"] = bands[i + 1] - bands[i]
    return out


def _log(value: float) -> float:
    return float(np.log(value + 1e-3))
