"""Thermal abuse of a lithium cobalt oxide cell: four exothermic decompositions after Hatchard (2001) and Kim (2007).

Kinetics of an LCO 18650: T. D. Hatchard et al., J. Electrochem. Soc. 148 (2001) A755; G.-H. Kim, A. Pesaran,
R. Spotnitz, J. Power Sources 170 (2007) 476. Not valid for LFP.
"""

from typing import NamedTuple

import numpy as np

from pipelines.battery_hazard.simulator.physics.cell import GAS_CONSTANT, KELVIN, Float

SEI, ANODE, CATHODE, ELECTROLYTE = range(4)
FREQUENCY_1_S = np.array([1.667e15, 2.5e13, 6.667e13, 5.14e25])
ACTIVATION_J_MOL = np.array([1.3508e5, 1.3508e5, 1.396e5, 2.74e5])
HEAT_J_G = np.array([257.0, 1714.0, 314.0, 155.0])
CONTENT_G_M3 = np.array([6.104e5, 6.104e5, 1.221e6, 4.069e5])
START = np.array([0.15, 0.75, 0.04, 1.0])
"""Initial values: content left to react (SEI, anode, electrolyte), and degree of conversion (cathode)."""
SEI_THICKNESS_START = 0.033
HEAT_J_M3 = HEAT_J_G * CONTENT_G_M3
"""Heat of each reactant when all of it reacts, per volume of cell."""


class Contents(NamedTuple):
    """State of the reactions, arrays of one shape.

    Attributes:
        sei, anode, electrolyte: dimensionless content left to react, falling to 0.
        cathode: degree of conversion, rising to 1.
        thickness: dimensionless thickness of the SEI. It grows with the anode's reaction, and slows it.
    """

    sei: Float
    anode: Float
    cathode: Float
    electrolyte: Float
    thickness: Float


def fresh(shape: tuple[int, ...], soc_percent: Float | float = 100.0) -> Contents:
    """Contents of unused cells.

    Args:
        shape: shape of the arrays.
        soc_percent: state of charge. The published contents are those of full cells, and the lithium in the anode
            follows the state of charge. We scale half of the anode's content with it, so an emptier cell burns more
            mildly; the half is our choice.
    """
    charged = np.broadcast_to(0.5 + 0.5 * np.clip(np.asarray(soc_percent, np.float64), 0, 100) / 100, shape)
    sei, anode, cathode, electrolyte = (np.full(shape, start) for start in START)
    return Contents(sei, anode * charged, cathode, electrolyte, np.full(shape, SEI_THICKNESS_START))


def react(contents: Contents, temp_c: Float, dt_s: Float | float) -> tuple[Contents, Float]:
    """Let the reactions run for `dt_s` at `temp_c`.

    The scheme is semi-implicit: contents cannot fall below zero at any temperature or step, and the heat is exactly
    that of the consumed content.

    Returns:
        The new contents, and the heat of each reaction in J/m3 of cell, [4, ...].
    """
    inverse = -1 / (GAS_CONSTANT * (temp_c + KELVIN))
    step = np.exp(ACTIVATION_J_MOL[SEI] * inverse) * dt_s  # SEI and anode share their activation energy
    sei = contents.sei / (1 + FREQUENCY_1_S[SEI] * step)
    slowed = np.exp(-contents.thickness / SEI_THICKNESS_START)
    anode = contents.anode / (1 + FREQUENCY_1_S[ANODE] * step * slowed)
    started = FREQUENCY_1_S[CATHODE] * np.exp(ACTIVATION_J_MOL[CATHODE] * inverse) * dt_s * contents.cathode
    cathode = 1 - (1 - contents.cathode) / (1 + started)
    ionic = FREQUENCY_1_S[ELECTROLYTE] * np.exp(ACTIVATION_J_MOL[ELECTROLYTE] * inverse) * dt_s
    electrolyte = contents.electrolyte / (1 + ionic)
    used = np.stack(
        [
            contents.sei - sei,
            contents.anode - anode,
            cathode - contents.cathode,
            contents.electrolyte - electrolyte,
        ]
    )
    thickness = contents.thickness + used[ANODE]
    heat = used * HEAT_J_M3.reshape(4, *[1] * np.ndim(temp_c))
    return Contents(sei, anode, cathode, electrolyte, thickness), heat
