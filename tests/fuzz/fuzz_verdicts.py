"""What a door may be found guilty of, and how bytes are damaged."""


class Wrong(Exception):
    """A door gave something else than what is there, without a word."""


class Outside(Exception):
    """Something was written or run outside of what was named."""


def must(holds, said):
    """Wrong, unless it holds."""
    if not holds:
        raise Wrong(said)


def damaged(content, case):
    """Bytes after the damage of a case: "edits" (place as a share, byte), "cut" and "more"."""
    content = bytearray(content)
    for share, byte in case.get("edits", ()):
        if content:
            content[int(share * (len(content) - 1))] = byte
    if case.get("cut") is not None:
        content = content[: int(case["cut"] * len(content))]
    return bytes(content) + case.get("more", b"")


def damages(most=4):
    """Strategy of damages, for `damaged`; most cases have none of a kind."""
    from hypothesis import strategies as st

    share = st.floats(0, 1, allow_nan=False)
    edit = st.tuples(share, st.integers(0, 255))
    return st.fixed_dictionaries(
        {
            "edits": st.one_of(st.just([]), st.lists(edit, max_size=most)),
            "cut": st.one_of(st.none(), st.none(), share),
            "more": st.sampled_from([b"", b"", b"", b"\0", b"more", b"\x1f\x8b\x08\x00"]),
        }
    )


def is_damaged(case):
    return bool(case.get("edits")) or case.get("cut") is not None or bool(case.get("more"))
