"""Shapes that people have, each standing for a kind of fault: who answers, who speaks last, what was said.

The letters are those of the kinds: A names, B questions, C labels, D pairs, E speakers' keys, F roles, G what a
row is, I markup, J order, K label names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from psyctl_core import Scenario, SkippedRow
from psyctl_soda.scenario import MEDIA, NO_DIALOGUE

LANTERN = "Did you see who took the big lantern from the gate last night?"
ROPE = "The rope is gone as well, and nobody asked me for it."
MILL = "The wheel of the mill has stopped turning since this morning."


def told(item: Scenario | SkippedRow) -> tuple[str, ...]:
    if isinstance(item, SkippedRow):
        return (item.reason,)
    last = item.dialogue[-1] if item.dialogue else None
    return (item.character, last.speaker if last else "", last.text if last else "")


def rows_of(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def oasst(own: str, parent: str | None, role: str, text: str, rank: int | None = None) -> dict[str, Any]:
    return {"message_id": own, "parent_id": parent, "role": role, "text": text, "rank": rank, "message_tree_id": "t"}


CASES: dict[str, tuple[str, str, list[tuple[str, ...]]]] = {
    "A first person, closed-class words, plurals and verbs name nobody": (
        "x.jsonl",
        rows_of(
            *(
                {"narrative": text}
                for text in (
                    "I was at the fair. Nora waved at me.",
                    "Is anybody home? Nobody knows.",
                    "His brother was late.",
                    "Could it rain? It did.",
                    "Goats walked over the bridge.",
                    "Running was hard for her.",
                    "Supper was ready and she was glad.",
                    "Two walked home.",
                    "Helena is at the fair and knows nobody there.",
                    "Zofia walks to the mill. She is tired.",
                )
            )
        ),
        [("Person A", "", "")] * 8 + [("Helena", "", ""), ("Zofia", "", "")],
    ),
    "B a context beside a response is said": (
        "x.jsonl",
        rows_of(
            {"Context": "My neighbour's goat eats my roses. Is that my fault?", "Response": "No."},
            {"Context": "Is it wrong to be tired? Two doctors say so.", "Response": "No."},
        ),
        [
            ("Person B", "Person A", "My neighbour's goat eats my roses. Is that my fault?"),
            ("Person B", "Person A", "Is it wrong to be tired? Two doctors say so."),
        ],
    ),
    "B a question is asked about what stands beside it": (
        "x.jsonl",
        rows_of({"context": "The mill opened in May.", "question": "When did it open?", "answers": {"text": ["May"]}}),
        [("Person B", "Person A", "The mill opened in May. When did it open?")],
    ),
    "B objects with input and output are two turns": (
        "x.jsonl",
        rows_of({"conversation": [{"system": "s", "input": LANTERN, "output": "No."}, {"input": "a", "output": "b"}]}),
        [("Assistant", "User", LANTERN)],
    ),
    "C a chat export with dates and times": (
        "x.jsonl",
        rows_of(
            {"text": "3/4/24, 9:05 PM - Messages are encrypted\n3/4/24, 9:06 PM - Vera Lind: " + LANTERN
                     + "\n3/4/24, 9:07 PM - Olaf Tamm: No.\n3/4/24, 9:08 PM - Vera Lind: <Media omitted>"},
            {"text": "[2024-03-04, 21:05:10] Ugo: <Media omitted>\n[2024-03-04, 21:06:10] Ugo: " + ROPE
                     + "\n[2024-03-04, 21:07:10] Pia: Ask.\n[2024-03-04, 21:08:10] Ugo: Whom?"},
        ),
        [("Olaf Tamm", "Vera Lind", LANTERN), ("Pia", "Ugo", ROPE)],
    ),
    "C exports of other programs": (
        "x.jsonl",
        rows_of(
            {"text": f"[민지] [오후 3:45] {LANTERN}\n[준호] [오후 3:46] 아니\n[민지] [오후 3:47] 사진"},
            {"text": f"[10:01] <vera> {LANTERN}\n[10:02] * olaf yawns\n[10:02] <olaf> no\n[10:03] <vera> hm"},
            {"text": f"- Vera (10:02): {LANTERN}\n- Olaf [10:03]: No.\n- Vera (10:04): Hm."},
        ),
        [("준호", "민지", LANTERN), ("olaf", "vera", LANTERN), ("Olaf", "Vera", LANTERN)],
    ),
    "C stage directions, parentheses and scenes": (
        "x.jsonl",
        rows_of(
            {"text": f"[Scene: A gate at night.]\nVera (whispering): {LANTERN}\n(A dog barks.)\nOlaf: No.\nVera: Hm."},
            {"text": f"Scene: A gate at night.\nVERA (O.S.): {ROPE}\nVERA: Well?\nOLAF [yawns]: Hm."},
        ),
        [("Olaf", "Vera", LANTERN), ("OLAF", "VERA", "Well?")],
    ),
    "C a film script with names above the words": (
        "x.jsonl",
        rows_of({"script": f"EXT. GATE\n\nVERA\n{LANTERN}\n\nOLAF\n(yawning)\nNo.\n\nHe turns.\n\nVERA\nHm.\n"}),
        [("Olaf", "Vera", LANTERN)],
    ),
    "C emphasis on names": (
        "x.jsonl",
        rows_of({"text": f"**Vera:** {LANTERN}\n\n**Olaf**: No.\n\n__Vera__: *sighs* Hm."}),
        [("Olaf", "Vera", LANTERN)],
    ),
    "C nothing else is a speaker where Human and Assistant part a text": (
        "x.jsonl",
        rows_of({"chosen": "\n\nHuman: Soup?\n\nAssistant: Take this and cook it for an hour:\n\nLeeks: two\n\n"
                           "Salt: some\n\nHuman: Note: no salt.\n\nAssistant: Fine."}),
        [("Assistant", "User", "Note: no salt.")],
    ),
    "C several names in a cell are a list": (
        "x.jsonl",
        rows_of({"narrative": "A gate.", "dialogue": ["Hm?", "No.", "Oh."], "speakers": "Vera; Olaf; Vera"},
                {"narrative": "A mill.", "dialogue": ["Hm?"], "speakers": "Vera and Olaf"}),
        [("Olaf", "Vera", "Hm?"), ("Olaf", "Vera", "Hm?")],
    ),
    "D pairs beside an instruction are a history": (
        "x.json",
        json.dumps([{"instruction": "And now?", "input": "", "output": "Now.",
                     "history": [[LANTERN, "No."], ["So?", "So."]]}]),
        [("Assistant", "User", "And now?")],
    ),
    "D pairs are judged over all rows": (
        "x.jsonl",
        rows_of({"dialogue": [["Vera", LANTERN], ["Olaf", "No."]]}, {"dialogue": [["Olaf", ROPE], ["Vera", "Oh."]]}),
        [("Olaf", "Vera", LANTERN), ("Vera", "Olaf", ROPE)],
    ),
    "D pairs of questions and answers": (
        "x.jsonl",
        rows_of({"history": [["Hi", "Hello, what do you need at this hour of the night?"], [ROPE, "Oh."]]}),
        [("Assistant", "User", ROPE)],
    ),
    "E a speaker's key of an unknown name is found by its values": (
        "x.json",
        json.dumps([{"dialogue": [{"pp": "P1", "utterance": LANTERN}, {"pp": "P1", "utterance": "Well?"},
                                  {"pp": "P2", "utterance": "No."}, {"pp": "P1", "utterance": "Hm."}]}]),
        [("P2", "P1", "Well?")],
    ),
    "F usr and sys": (
        "x.json",
        json.dumps({"7": {"messages": [{"role": "usr", "content": "Hi"}, {"role": "sys", "content": ROPE},
                                       {"role": "usr", "content": "Bye"}], "type": "x"},
                    "8": {"messages": [{"role": "usr", "content": LANTERN}, {"role": "sys", "content": "No"}]}}),
        [("Assistant", "User", "Bye"), ("Assistant", "User", LANTERN)],
    ),
    "F numbered labels, and who serves answers": (
        "x.jsonl",
        rows_of({"dialog": [{"speaker": "0_Wizard", "text": ROPE}, {"speaker": "1_Apprentice", "text": LANTERN},
                            {"speaker": "0_Wizard", "text": "No."}]}),
        [("Wizard", "Apprentice", LANTERN)],
    ),
    "F and I booleans, the bot's name, placeholders": (
        "x.jsonl",
        rows_of({"bot_name": "Tomas", "conversation": [
            {"message": f"Welcome, {{{{user}}}}! {ROPE}", "is_human": False}, {"message": LANTERN, "is_human": True},
            {"message": "No.", "is_human": False}]}),
        [("Tomas", "User", LANTERN)],
    ),
    "G a document that is a conversation is one row": (
        "x.json",
        json.dumps({"id": 3, "topic": "lanterns", "messages": [{"id": "1", "speaker": "Vera", "text": LANTERN},
                                                                {"id": "2", "speaker": "Olaf", "text": "No."}]}),
        [("Olaf", "Vera", LANTERN)],
    ),
    "G rows that are lists": (
        "x.jsonl",
        rows_of([{"speaker": "Vera", "text": LANTERN}, {"speaker": "Olaf", "text": "No."}],
                [{"speaker": "Olaf", "text": ROPE}, {"speaker": "Vera", "text": "Oh."}]),
        [("Olaf", "Vera", LANTERN), ("Vera", "Olaf", ROPE)],
    ),
    "G rows that are objects in pieces": (
        "x.jsonl",
        rows_of([{"prior": [f"Vera: {LANTERN}", "Olaf: No."]}, {"character_line": "Vera: Hm."}]),
        [("Vera", "Olaf", "No.")],
    ),
    "G an array of texts in an array": (
        "x.json", json.dumps([[LANTERN, "No."], [ROPE, "Oh."]]),
        [("Person B", "Person A", LANTERN), ("Person B", "Person A", ROPE)],
    ),
    "G conversations deep inside a document": (
        "x.json",
        json.dumps({"about": "x", "chats": {"about": "y", "list": [
            {"name": "a", "messages": [{"from": "Vera", "text": ["See ", {"type": "bold", "text": LANTERN}]},
                                       {"from": "Olaf", "text": "No."}]}]}}),
        [("Olaf", "Vera", f"See {LANTERN}")],
    ),
    "G texts by their ids": (
        "x.json",
        json.dumps({"a": f"Vera: {LANTERN}\nOlaf: No.\nVera: Hm.", "b": f"Olaf: {ROPE}\nVera: No.\nOlaf: Hm."}),
        [("Olaf", "Vera", LANTERN), ("Vera", "Olaf", ROPE)],
    ),
    "G and E rows whose words and speakers are inside objects": (
        "x.jsonl",
        rows_of(*({"head": {"dialogueID": d}, "body": {"participantID": p, "utterance": u}} for d, p, u in (
            ("d1", "P1", LANTERN), ("d1", "P2", "No."), ("d2", "P3", ROPE), ("d2", "P4", "Oh.")))),
        [("P2", "P1", LANTERN), ("P4", "P3", ROPE)],
    ),
    "G and E rows of a channel whose authors are objects": (
        "x.jsonl",
        rows_of(*({"channel": c, "author": {"name": n, "id": 1}, "content": t} for c, n, t in (
            ("c1", "Vera", LANTERN), ("c1", "Olaf", "No."), ("c2", "Ines", ROPE), ("c2", "Tomas", "Yes.")))),
        [("Olaf", "Vera", LANTERN), ("Tomas", "Ines", ROPE)],
    ),
    "G splits below a key of their own obey --split": (
        "x.json",
        json.dumps({"version": 2, "data": {"train": [{"q": LANTERN, "a": "No."}, {"q": ROPE, "a": "Yes."}],
                                           "test": [{"q": MILL, "a": "Ice."}]}}),
        [("Person B", "Person A", LANTERN), ("Person B", "Person A", ROPE)],
    ),
    "E and F who speaks is known by the roles alone": (
        "x.jsonl",
        rows_of(*({"ticket_id": t, "author_type": who, "body": text} for t, who, text in (
            (1, "customer", LANTERN), (1, "agent", "No."), (2, "customer", ROPE), (2, "agent", "Yes.")))),
        [("agent", "customer", LANTERN), ("agent", "customer", ROPE)],
    ),
    "F the character's name stands beside the talk": (
        "x.jsonl",
        rows_of({"char": "Tomas", "user_name": "Vera", "chat": [{"is_user": True, "mes": LANTERN},
                                                               {"is_user": False, "mes": "No, {{user}}."}]}),
        [("Tomas", "Vera", LANTERN)],
    ),
    "B an instruction that is the same in every row is nobody's words": (
        "x.jsonl",
        rows_of(*({"instruction": "Be kind.", "input": text, "output": "Oh."} for text in (LANTERN, ROPE, MILL))),
        [("Person B", "Person A", text) for text in (LANTERN, ROPE, MILL)],
    ),
    "D turns by the name of who says them": (
        "x.jsonl",
        rows_of({"dialog": [{"Vera": LANTERN}, {"Olaf": "No."}, {"Vera": "Hm."}]}),
        [("Olaf", "Vera", LANTERN)],
    ),
    "F a named character answers a user": (
        "x.jsonl",
        rows_of({"conversation": f"**Tomas:** *waves* Hello, {{{{user}}}}.\n\n**You:** {LANTERN}\n\n**Tomas:** No."}),
        [("Tomas", "User", LANTERN)],
    ),
    "I reasoning is nobody's speech": (
        "x.jsonl",
        rows_of({"messages": [{"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": f"<think>```code```\nHm.</think>{ROPE}"},
                              {"role": "user", "content": MILL}, {"role": "assistant", "content": "Oh."}]}),
        [("Assistant", "User", MILL)],
    ),
    "I a filled chat template": (
        "x.jsonl",
        rows_of({"text": f"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{LANTERN}<|im_end|>\n"
                         "<|im_start|>assistant\nNo.<|im_end|>\n"},
                {"text": f"<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n{ROPE} [/INST] Oh. </s>"},
                {"text": f"### Human: {MILL}### Assistant: Oh."}),
        [("Assistant", "User", LANTERN), ("Assistant", "User", ROPE), ("Assistant", "User", MILL)],
    ),
    "I markup and tokens in turns": (
        "x.jsonl",
        rows_of({"messages": [{"role": "user", "content": f"<p class='x'>{LANTERN}<br/></p><!-- x --><|im_end|>"},
                              {"role": "assistant", "content": "No."}]}),
        [("Assistant", "User", LANTERN)],
    ),
    "I what is about an image has a reason of its own": (
        "x.jsonl",
        rows_of({"conversations": [{"from": "human", "value": f"<image>\n{LANTERN}"}, {"from": "gpt", "value": "No."}]},
                {"conversations": [{"from": "human", "value": ROPE}, {"from": "gpt", "value": "Oh."}]}),
        [(MEDIA,), ("Assistant", "User", ROPE)],
    ),
    "J a reply before what it replies to": (
        "x.jsonl",
        rows_of({"id": "L2", "conversation_id": "L1", "text": "No.", "speaker": "u0", "reply-to": "L1"},
                {"id": "L1", "conversation_id": "L1", "text": LANTERN, "speaker": "u2", "reply-to": None}),
        [("u0", "u2", LANTERN)],
    ),
    "J of a tree one path is a conversation, and siblings are not turns": (
        "x.jsonl",
        rows_of(oasst("a", None, "prompter", "Hi"), oasst("b", "a", "assistant", "Worse.", 1),
                oasst("c", "a", "assistant", ROPE, 0), oasst("d", "c", "prompter", MILL),
                oasst("e", "d", "assistant", "Oh.")),
        [("Assistant", "User", MILL)],
    ),
    "J nested replies": (
        "x.jsonl",
        rows_of({"tree": "t", "prompt": {"text": LANTERN, "role": "prompter", "replies": [
            {"text": "Worse.", "role": "assistant", "rank": 1, "replies": []},
            {"text": "No.", "role": "assistant", "rank": 0, "replies": []}]}}),
        [("Assistant", "User", LANTERN)],
    ),
    "J a post and the first of its comments": (
        "x.jsonl",
        rows_of({"title": "Lanterns", "selftext": LANTERN, "author": "vera", "comments": [
            {"author": "olaf", "body": "No.", "replies": [{"author": "vera", "body": "Hm."}]},
            {"author": "pia", "body": "Yes."}]}),
        [("olaf", "vera", f"Lanterns {LANTERN}")],
    ),
    "J the newest first": (
        "x.json",
        json.dumps({"participants": [{"name": "Vera"}], "messages": [
            {"sender_name": "Olaf", "timestamp_ms": 2000, "content": "No."},
            {"sender_name": "Vera", "timestamp_ms": 1000, "content": LANTERN}]}),
        [("Olaf", "Vera", LANTERN)],
    ),
    "J rows by their time": (
        "x.csv",
        f"chat_id,user,msg,sent_at\n1,Olaf,No.,2024-01-01T10:05:00Z\n1,Vera,{LANTERN},2024-01-01T10:04:00Z\n",
        [("Olaf", "Vera", LANTERN)],
    ),
    "H the mark of UTF-16": (
        "x.csv", "\ufeff" + f"prompt,response\n{LANTERN},No.\n", [("Person B", "Person A", LANTERN)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_it_is_read_as_people_mean_it(tmp_path: Path, read, kind):
    name, content, expected = CASES[kind]
    path = tmp_path / name
    path.write_text(content, encoding="utf-16" if content.startswith("\ufeff") else "utf-8")
    assert [told(item) for item in read(path)] == expected
    for offset, item in enumerate(read(path)):
        assert "{{" not in str(item), offset
        assert "think" not in str(item), offset


def test_a_history_is_quoted_whole_before_the_instruction(jsonl, read):
    row = {"instruction": "Thanks!", "input": "", "output": "Bye.", "history": [[LANTERN, ROPE], [MILL, "Oh."]]}
    (item,) = read(jsonl([row]))
    assert [turn.text for turn in item.dialogue] == [LANTERN, ROPE, MILL, "Oh.", "Thanks!"]
    assert [turn.speaker for turn in item.dialogue] == ["User", "Assistant"] * 2 + ["User"]


def test_a_scene_line_sets_the_scene(jsonl, read):
    (item,) = read(jsonl([{"text": f"[Scene: A gate at night.]\nVera: {LANTERN}\nOlaf: No.\nVera: Hm."}]))
    assert item.situation == "A gate at night."


@pytest.mark.parametrize(
    "row",
    [
        {
            "char": "mira",
            "card": "Name: Mira\nAge: 30\nTrade: keeper of a light\nTemper: warm",
            "greeting": "You are late.",
        },
        {"text": "Title: Soup\nServes: 4\nMethod: cook it"},
        {"text": "We left.\nThe reason: a candle.\nNote: it was old.\nNobody came."},
        {"text": "From: me\nTo: you\nSubject: lanterns\n\nHi"},
        {"text": "Step 1: mix\nStep 2: bake\nStep 3: eat"},
        {"dialogue": "Setup: a goat\nPunchline: a gate"},
        {"text": "Zutat: Lauch\nDauer: lang\nGeschmack: mild"},
    ],
)
def test_a_form_is_not_a_talk(jsonl, source, row):
    from psyctl_core import SourceError

    with pytest.raises(SourceError, match="not recognised"):
        source(jsonl([row] * 3)).identity()


def test_keys_named_like_splits_obey_split(tmp_path, read, source):
    def chat(said: str) -> dict[str, Any]:
        return {"conversations": [{"from": "human", "value": said}, {"from": "gpt", "value": "Oh."}]}

    path = tmp_path / "x.json"
    path.write_text(
        json.dumps({"train": [chat(LANTERN), chat(ROPE)], "valid": [chat(MILL)]}, indent=1), encoding="utf-8"
    )
    assert [told(item)[2] for item in read(path)] == [LANTERN, ROPE]
    assert [told(item)[2] for item in read(path, split="valid")] == [MILL]
    assert [told(item)[2] for item in read(path, split="validation")] == [MILL]
    from psyctl_core import SourceError

    with pytest.raises(SourceError, match=r"has no split 'test'; it has: train, valid"):
        read(path, split="test")


def test_a_folder_of_files_that_are_conversations(tmp_path, read, source):
    for number in range(3):
        document = {"id": number, "messages": [{"speaker": "Vera", "text": f"{LANTERN} {number}"},
                                               {"speaker": "Olaf", "text": "No."}]}  # fmt: skip
        (tmp_path / f"{number}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    assert [told(item) for item in read(tmp_path)] == [("Olaf", "Vera", f"{LANTERN} {n}") for n in range(3)]
    assert source(tmp_path).total() == 3


def test_rows_that_may_be_scenes_of_their_own_are_told_the_option(tmp_path, read, source, jsonl):
    rows = [{"situation": f"{LANTERN} It is day {n}.", "person": name, "said": f"Who did this {n}?"}
            for n, name in enumerate(("Vera", "Olaf", "Vera", "Olaf"))]  # fmt: skip
    path = jsonl(rows, "rows.jsonl")
    option = "situation=situation,character=person,line=said"
    assert f"give --columns {option}" in source(path).describe()["How sure"]
    assert [item.character for item in read(path, columns=option)] == ["Vera", "Olaf", "Vera", "Olaf"]


def test_a_file_of_turns_alone_is_one_conversation(tmp_path, read, source, jsonl):
    turns = [("Vera", LANTERN), ("Olaf", "No."), ("Vera", "Hm."), ("Olaf", "Oh.")]
    for number in range(2):
        jsonl([{"name": name, "mes": f"{text} {number}"} for name, text in turns], f"logs/{number}.jsonl")
    items = read(tmp_path / "logs")
    assert [told(item) for item in items] == [("Olaf", "Vera", f"{LANTERN} {n}") for n in range(2)]
    assert [item.offset for item in items] == [0, 4]
    assert read(tmp_path / "logs", 1) == items[1:]
    assert "each file is taken for one" in source(tmp_path / "logs").describe()["How sure"]


def test_names_of_labels_are_read(tmp_path, read):
    speaker = datasets.ClassLabel(names=["Patient", "Doctor"])
    features = datasets.Features(
        {"dialogue_id": datasets.Value("int64"), "speaker": speaker, "text": datasets.Value("string")}
    )
    rows = [{"dialogue_id": 1, "speaker": 0, "text": LANTERN}, {"dialogue_id": 1, "speaker": 1, "text": "No."}]
    made = datasets.Dataset.from_list(rows, features=features)
    made.to_parquet(tmp_path / "x.parquet")
    made.save_to_disk(tmp_path / "saved")
    nested = datasets.Features({"turns": datasets.List({"who": speaker, "text": datasets.Value("string")})})
    turns = [{"turns": [{"who": row["speaker"], "text": row["text"]} for row in rows]}]
    datasets.Dataset.from_list(turns, features=nested).to_parquet(tmp_path / "nested.parquet")
    for name in ("x.parquet", "saved", "nested.parquet"):
        assert [told(item) for item in read(tmp_path / name)] == [("Doctor", "Patient", LANTERN)], name


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"messages": [{"role": "user", "content": LANTERN}, {"role": "assistant", "content": "No."}]}]},
        {"a": {"dialog": [LANTERN, "No."]}, "b": {"dialog": [ROPE, "Oh."]}},
        {"version": 1, "data": [{"text": f"Vera: {LANTERN}\nOlaf: No.\nVera: Hm.", "name": "x"}]},
        {"train": {"a": {"dialog": [LANTERN, "No."]}}, "test": {}},
        [
            {"dialog": [LANTERN, "No."], "score": float("nan")},
            {"dialog": [ROPE, '"NaN" \\ Oh.'], "score": float("inf")},
        ],
    ],
)
def test_large_documents_are_read_as_small_ones(tmp_path, read, monkeypatch, document):
    from psyctl_soda import readers

    path = tmp_path / "x.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    small = read(path)
    assert told(small[0])[2] == LANTERN
    monkeypatch.setattr(readers, "MAX_ROW_BYTES", 100)
    assert read(path) == small


def test_a_reply_that_goes_in_a_circle_ends(jsonl, read):
    rows = [
        {"conv_id": 1, "id": one, "reply_to": other, "speaker": one, "text": LANTERN} for one, other in ("ab", "ba")
    ]
    assert len(read(jsonl(rows))) == 1


def test_a_turn_that_is_only_a_picture_is_not_a_turn(jsonl, read):
    row = {"dialogue": f"Vera: <file_photo>\nVera: {LANTERN}\nOlaf: image omitted\nOlaf: No."}
    (item,) = read(jsonl([row]))
    assert told(item) == ("Olaf", "Vera", LANTERN)
    assert told(read(jsonl([{"dialogue": "Vera: <file_photo>\nOlaf: <file_photo>\nVera: <file_gif>"}, row]))[0]) == (
        NO_DIALOGUE,
    )
