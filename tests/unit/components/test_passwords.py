"""Passwords that a stack makes: when they change, and what they are made of."""

import math
import pickle

from hypothesis import given
from hypothesis import strategies as st

from components.passwords import GeneratedPassword, PasswordProvider

LENGTHS = st.integers(8, 64)
ROTATIONS = st.integers(1, 1000)
PROVIDER = PasswordProvider()


@given(LENGTHS, ROTATIONS)
def test_a_password_has_its_length_and_nothing_that_a_shell_or_a_url_reads(length: int, rotation: int) -> None:
    # Numbers arrive as floats.
    made = PROVIDER.create({"length": float(length), "rotation": float(rotation)})
    assert made.outs is not None
    assert len(made.outs["value"]) == length
    assert made.outs["value"].isascii()
    assert made.outs["value"].isalnum()
    # The ID is no secret.
    assert made.id not in made.outs["value"]
    assert made.outs["value"] not in made.id


@given(LENGTHS, ROTATIONS)
def test_a_password_is_kept_until_its_length_or_its_rotation_changes(length: int, rotation: int) -> None:
    inputs = {"length": length, "rotation": rotation}
    made = PROVIDER.create(inputs)
    assert made.outs is not None
    assert PROVIDER.diff(made.id, made.outs, inputs).changes is False
    for other in ({**inputs, "length": length + 1}, {**inputs, "rotation": rotation + 1}):
        diff = PROVIDER.diff(made.id, made.outs, other)
        assert diff.changes is True
        # In place: the Secret keeps its name.
        assert not diff.replaces
        updated = PROVIDER.update(made.id, made.outs, other).outs
        assert updated is not None
        assert updated["value"] != made.outs["value"]
        assert PROVIDER.diff(made.id, updated, other).changes is False


def test_two_passwords_share_nothing_and_hold_more_than_128_bits() -> None:
    made = {str((PROVIDER.create({"length": 32, "rotation": 1}).outs or {})["value"]) for _ in range(200)}
    assert len(made) == 200
    alphabet = set("".join(made))
    assert 32 * math.log2(len(alphabet)) > 128


def test_a_state_keeps_the_name_of_the_provider_and_not_its_code() -> None:
    stored = pickle.dumps(PROVIDER)
    assert b"components.passwords" in stored
    assert len(stored) < 100


def test_what_is_wanted_does_not_hold_the_password() -> None:
    assert repr(GeneratedPassword("key", 32, 1)) == "GeneratedPassword(key='key', length=32, rotation=1)"
