"""Rows written for these tests in the shapes that people have, and what is right for each of them.

Every entry names the data set whose form it has, the shape it must be recognised as, its rows, and for each
row (or conversation) either ``(who answers, who speaks last, what they say last)`` or the reason it is skipped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from psyctl_soda.repeats import REPEATED
from psyctl_soda.scenario import MACHINE, MEDIA, NO_DIALOGUE, NO_NAMES, ONE_SPEAKER, TOO_LONG

Expected = tuple[str, str, str] | str


class Example(NamedTuple):
    """Rows of one form."""

    form: str
    shape: str
    rows: list[dict[str, Any]]
    expected: list[Expected]


BIKE = "Mara brings her bicycle to Ilo's workshop on a rainy day."
SLIPS = "The chain slips. Can you mend it today?"

SODA = Example(
    "SODA", "soda",
    [
        {"narrative": BIKE, "dialogue": [SLIPS, "Let me look.", "Thanks."], "speakers": ["Mara", "Ilo", "Mara"]},
        {"narrative": "Two guards.", "dialogue": ["Quiet night.", "", "Too quiet."], "speakers": ["A", "B", "B"]},
        {"narrative": "A hall.", "dialogue": ["", "Anybody here?", "Yes, me."], "speakers": ["A", "B", "A"]},
        {"narrative": "A door.", "dialogue": ["Hello?", "Open up!", "Yes?"], "speakers": ["Tom", "Tom", "A voice"]},
        {"narrative": "A cell.", "dialogue": ["To be or not to be."], "speakers": ["Hamlet"]},
        {"narrative": "A heath.", "dialogue": ["Blow, winds!", "Crack your cheeks!"], "speakers": ["Lear", "lear"]},
        {"narrative": "A pit.", "dialogue": ["Help!", "Who is there?", "Me."], "speakers": ["True", "God"]},
        {"narrative": "A pit.", "dialogue": ["Help!", "Who is there?", "Me."], "speakers": ["True", "God", ""]},
        {"narrative": "A queue.", "dialogue": ["Next!"], "speakers": ["A", "B", "C"]},
        {"narrative": "", "dialogue": None, "speakers": None},
        {"narrative": BIKE, "dialogue": [SLIPS, "No time."], "speakers": ["Mara", "Ilo"]},
        {"narrative": "x" * 5000, "dialogue": [SLIPS, "No."], "speakers": ["Mara", "Ilo"]},
        {"narrative": "Late.", "dialogue": ["y" * 3000, "z" * 3000, "Stop."], "speakers": ["A", "A", "B"]},
        {"narrative": "Late.", "dialogue": ["y" * 9000, "Stop."], "speakers": ["A", "B"]},
    ],
    [
        ("Ilo", "Mara", SLIPS), ("B", "A", "Quiet night."), ("A", "B", "Anybody here?"),
        ("A voice", "Tom", "Open up!"), ONE_SPEAKER, ONE_SPEAKER, ("God", "True", "Help!"), REPEATED,
        NO_NAMES, NO_DIALOGUE, REPEATED, TOO_LONG, ("B", "A", "z" * 3000), TOO_LONG,
    ],
)  # fmt: skip

KOREAN = Example(
    "simplified Korean SODA", "soda",
    [
        {"narrative": "비 오는 날이다.", "dialogue": ["체인이 자꾸 빠져요."], "speakers": ["민지", "준호"]},
        {"narrative": "준호는 가게 문을 닫으려고 한다.", "dialogue": "벌써 닫으세요?", "speakers": ["서연", "준호"]},
        {"narrative": "둘은 시장에서 만났다.", "dialogue": ["이거 얼마예요?"], "speakers": "하나, 상인"},
        {"narrative": "혼자 있다.", "dialogue": ["아무도 없나?"], "speakers": ["민지", "민지"]},
    ],
    [
        ("준호", "민지", "체인이 자꾸 빠져요."), ("준호", "서연", "벌써 닫으세요?"), ("상인", "하나", "이거 얼마예요?"),
        NO_NAMES,
    ],
)  # fmt: skip

NUMPY = Example(
    "SODA after a CSV round trip", "soda",
    [
        {
            "Unnamed: 0": 7, "narrative": "Dusk.", "PersonZ": float("nan"),
            "dialogue": "[\"It's late.\"\n 'So it \"is\".'\n \"Let's go.\"]", "speakers": "['Una' 'Bo' 'Una']",
        },
        {"narrative": "Dawn.", "dialogue": "['Up?', 'Up.']", "speakers": "['Una', 'Bo']"},
        {"narrative": "Noon.", "dialogue": '["Hungry?", "Very."]', "speakers": '["Una", "Bo"]'},
        {"narrative": "Night.", "dialogue": float("nan"), "speakers": "['Una' 'Bo']"},
    ],
    [("Bo", "Una", "It's late."), ("Bo", "Una", "Up?"), ("Bo", "Una", "Hungry?"), NO_DIALOGUE],
)  # fmt: skip

DAILY = Example(
    "DailyDialog", "turns",
    [
        {"dialog": [" Shall we walk to the lake before it gets too dark ? ", " I would like that . "], "act": [3, 4]},
        {"dialog": ["Hi . ", "Hi ! ", " Did you bring the keys to the cabin with you ? ", "No . "], "act": [1] * 4},
        {"dialog": ["Anybody ? "], "act": [1]},
        {"dialog": [], "act": []},
        {"dialog": ["", "I said nothing and you said nothing , all evening long . ", "True . "], "act": [1, 1, 1]},
    ],
    [
        ("Person B", "Person A", "Shall we walk to the lake before it gets too dark ?"),
        ("Person B", "Person A", "Did you bring the keys to the cabin with you ?"),
        ONE_SPEAKER, NO_DIALOGUE,
        ("Person B", "Person A", "I said nothing and you said nothing , all evening long ."),
    ],
)  # fmt: skip

NAMED_TURNS = Example(
    "a list of turns with names", "turns",
    [
        {"scene": "A bakery.", "turns": ["Ada: Is the rye bread done?", "Ben: Five more minutes.", "Ada: I'll wait."]},
        {"scene": "A bakery.", "turns": ["Ben: Who ordered this cake?", "It has your name on it.", "Ada: Not me."]},
    ],
    [("Ben", "Ada", "Is the rye bread done?"), ("Ada", "Ben", "Who ordered this cake? It has your name on it.")],
)  # fmt: skip

CHAT_TABLE = Example(
    "Persona-Chat as a table", "turns",
    [
        {"Persona": "i ride .", "chat": "hello there , do you like to travel by train at night ?\ni do .\nme too .\n"},
        {"Persona": "i cook .", "chat": "my soup is ready __eou__ then let us sit down and eat it while hot __eou__"},
    ],
    [
        ("Person B", "Person A", "hello there , do you like to travel by train at night ?"),
        ("Person B", "Person A", "my soup is ready"),
    ],
)  # fmt: skip

SHAREGPT = Example(
    "ShareGPT", "sharegpt",
    [
        {"conversations": [
            {"from": "system", "value": "You are a helpful assistant."},
            {"from": "human", "value": "My neighbour plays the drums at night. What should I tell him?"},
            {"from": "gpt", "value": "Ask him kindly."}], "tools": "[]"},
        {"conversations": [
            {"from": "human", "value": "Please order a pizza with olives for the four of us."},
            {"from": "function_call", "value": "{\"name\": \"order\", \"arguments\": {\"what\": \"pizza\"}}"},
            {"from": "observation", "value": "{\"status\": \"ok\"}"},
            {"from": "gpt", "value": "It is ordered."}], "tools": "[]"},
        {"conversations": [
            {"from": "human", "value": "Why does this fail?\n```python\nprint(1/0)\n```"},
            {"from": "gpt", "value": "You divide by zero."}], "tools": "[]"},
        {"conversations": [{"from": "system", "value": "Be brief."}], "tools": "[]"},
        {"conversations": [{"from": "gpt", "value": "Hello! How may I help you today?"}], "tools": "[]"},
    ],
    [
        ("Assistant", "User", "My neighbour plays the drums at night. What should I tell him?"),
        ("Assistant", "User", "Please order a pizza with olives for the four of us."),
        MACHINE, NO_DIALOGUE, ONE_SPEAKER,
    ],
)  # fmt: skip

MESSAGES = Example(
    "OpenAI messages", "messages",
    [
        {"prompt": "p", "messages": [
            {"role": "system", "content": "You are terse."}, {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello! What brings you here on such a stormy evening?"},
            {"role": "user", "content": "I could not sleep."}, {"role": "assistant", "content": "Tea?"}]},
        {"prompt": "p", "messages": [{"role": "user", "content": "hi"}]},
        {"prompt": "p", "messages": [
            {"role": "user", "content": "Write to my landlord that the heating is broken again."},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": "{}"},
            {"role": "assistant", "content": "Done."}]},
        {"prompt": "p", "messages": [{"role": "assistant", "content": "..."}, {"role": "alien", "content": 7}]},
        {"prompt": "p", "messages": None},
    ],
    [
        ("Assistant", "User", "I could not sleep."), ("Assistant", "User", "hi"),
        ("Assistant", "User", "Write to my landlord that the heating is broken again."), ONE_SPEAKER, NO_DIALOGUE,
    ],
)  # fmt: skip

PARTS = Example(
    "messages of content parts", "messages",
    [
        {"messages": [
            {"role": "user", "content": [{"type": "text", "value": "Who ate the last slice of the plum cake?"}]},
            {"role": "assistant", "content": [{"type": "text", "value": "I am {{name}}."}]}]},
        {"messages": [
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "Is this"},
                {"type": "text", "text": "your dog in the picture with the red ball?"}]},
            {"role": "assistant", "content": "Yes."}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": []}]},
    ],
    [
        ("Assistant", "User", "Who ate the last slice of the plum cake?"), MEDIA, MEDIA,
    ],
)  # fmt: skip

SAMSUM = Example(
    "SAMSum", "script",
    [
        {"id": "1", "summary": "They meet.", "dialogue":
            "Olga: Are we still meeting at the old mill on Friday?\r\nPiet: Sure\r\nOlga: 8pm?"},
        {"id": "2", "summary": "No.", "dialogue":
            "Piet: did you see it: the new sign?\r\nPiet: at 10:30 it was gone\r\nOlga: no"},
        {"id": "3", "summary": "", "dialogue": ""},
        {"id": "4", "summary": "Only.", "dialogue": "Olga: is anybody going to answer me some day?"},
    ],
    [
        ("Piet", "Olga", "Are we still meeting at the old mill on Friday?"), ("Olga", "Piet", "at 10:30 it was gone"),
        NO_DIALOGUE, ONE_SPEAKER,
    ],
)  # fmt: skip

DIALOGSUM = Example(
    "DialogSum", "script",
    [
        {"id": "d_0", "topic": "lamp", "dialogue":
            "#Person1#: Good morning. I would like to return this lamp.\n#Person2#: What is wrong?"},
        {"id": "d_1", "topic": "memo", "dialogue":
            "#Person2#: Ms. Dawson, please take a note for the whole office.\n#Person1#: Yes."},
    ],
    [
        ("Person 2", "Person 1", "Good morning. I would like to return this lamp."),
        ("Person 1", "Person 2", "Ms. Dawson, please take a note for the whole office."),
    ],
)  # fmt: skip

PERSONA_CHAT = Example(
    "Synthetic-Persona-Chat", "script",
    [
        {"user 1 personas": "I knit.", "Best Generated Conversation":
            "User 1: Hi!\nUser 2: Hello!\nUser 1: What did you do with all the wool I gave you?\nUser 2: Socks."},
        {"user 1 personas": "I sail.", "Best Generated Conversation": "User 1: Hi!\nUser 2: Hello!"},
    ],
    [("User 2", "User 1", "What did you do with all the wool I gave you?"), ("User 2", "User 1", "Hi!")],
)  # fmt: skip

EMPATHETIC = Example(
    "EmpatheticDialogues", "utterances",
    [
        {"conv_id": conv, "utterance_idx": at, "context": "x", "prompt": prompt, "speaker_idx": who, "utterance": said}
        for conv, at, prompt, who, said in [
            ("hit:0_conv:1", 1, "I won a race_comma_ my first one.", 1, "I ran_comma_ and I won!"),
            ("hit:0_conv:1", 2, "I won a race_comma_ my first one.", 0, "Congratulations &amp; well done!"),
            ("hit:0_conv:1", 3, "I won a race_comma_ my first one.", 1, "Thank you."),
            ("hit:1_conv:2", 2, "My cat came home.", 6, "How lovely."),
            ("hit:1_conv:2", 1, "My cat came home.", 5, "She was away for a week."),
            ("hit:2_conv:3", 1, "Nobody was there.", 3, "Hello?"),
            ("hit:3_conv:4", 1, "Silence.", 3, ""),
            ("hit:3_conv:4", 2, "Silence.", 4, None),
        ]
    ],
    [
        ("Person B", "Person A", "I ran, and I won!"), ("Person B", "Person A", "She was away for a week."),
        ONE_SPEAKER, NO_DIALOGUE,
    ],
)  # fmt: skip

FORUM = Example(
    "one row an utterance with names", "utterances",
    [
        {"thread_id": thread, "author": author, "text": text}
        for thread, author, text in [
            (1, "Rosa", "Has anybody seen the blue ladder since Monday?"), (1, "Emil", "It is on the roof."),
            (2, "Emil", "The roof leaks."), (2, "Emil", "Again, and in the same place as the last time."),
            (2, "Rosa", "Oh no."),
        ]
    ],
    [
        ("Emil", "Rosa", "Has anybody seen the blue ladder since Monday?"),
        ("Rosa", "Emil", "Again, and in the same place as the last time."),
    ],
)  # fmt: skip

NARRATIVE = Example(
    "a bare narrative", "bare",
    [
        {"narrative": "Alice is at a party and knows nobody there."},
        {"narrative": "It was late. Tom walked home through the snow."},
        {"narrative": "Somebody knocks at the door of the lighthouse."},
        {"narrative": ""},
        {"narrative": "{\"name\": \"search\", \"arguments\": {}}"},
    ],
    [("Alice", "", ""), ("Tom", "", ""), ("Person A", "", ""), NO_DIALOGUE, MACHINE],
)  # fmt: skip

CONTEXT = Example(
    "a bare context with a character", "bare",
    [
        {"context": "The ferry is about to leave and the captain is not on board.", "character": "Jonas", "label": 1},
        {"context": "The ferry is gone.", "character": None, "label": 0},
    ],
    [("Jonas", "", ""), ("Person A", "", "")],
)  # fmt: skip

PROMPT = Example(
    "a bare prompt", "bare",
    [
        {"prompt": "How do I tell my sister that I broke her violin?", "response": "Gently."},
        {"prompt": "```\nx\n```", "response": ""},
        {"prompt": None, "response": ""},
    ],
    [("Person B", "Person A", "How do I tell my sister that I broke her violin?"), MACHINE, NO_DIALOGUE],
)  # fmt: skip

MULTIWOZ = Example(
    "MultiWOZ as datasets stores it", "objects",
    [
        {"dialogue_id": "A1", "services": ["hotel"], "turns": {
            "turn_id": ["0", "1"], "speaker": [0, 1],
            "utterance": ["I need a quiet room with a view of the river.", "For how many?"], "frames": [{}, {}]}},
        {"dialogue_id": "A2", "services": [], "turns": {"turn_id": [], "speaker": [], "utterance": []}},
    ],
    [("Person B", "Person A", "I need a quiet room with a view of the river."), NO_DIALOGUE],
)  # fmt: skip

SGD = Example(
    "SGD", "objects",
    [
        {"dialogue_id": "1", "turns": [
            {"frames": [{"service": "Trains"}], "speaker": "USER", "utterance": "Find me a train."},
            {"frames": [], "speaker": "SYSTEM", "utterance": "To which town shall it go?"},
            {"frames": [], "speaker": "USER", "utterance": "Anywhere by the sea."},
            {"frames": [], "speaker": "SYSTEM", "utterance": "There is one at nine."}]},
        {"dialogue_id": "2", "turns": [{"frames": [], "speaker": "USER", "utterance": "Hello?"}]},
        {"dialogue_id": "3", "turns": [
            {"speaker": None, "utterance": "lost words"}, {"speaker": "USER", "utterance": None},
            {"speaker": "SYSTEM", "utterance": "Can I help you?"}]},
    ],
    [("Assistant", "User", "Anywhere by the sea."), ONE_SPEAKER, ONE_SPEAKER],
)  # fmt: skip

CONVAI = Example(
    "ConvAI2", "objects",
    [
        {"dialog_id": "0x1", "bot_profile": [["I swim."]], "dialog": [
            {"id": 0, "sender": "participant2", "sender_class": "Bot", "text": "Did you ever swim across that lake?"},
            {"id": 1, "sender": "participant1", "sender_class": "Human", "text": "Never!"}]},
    ],
    [("Participant 1", "Participant 2", "Did you ever swim across that lake?")],
)  # fmt: skip

CORNELL = Example(
    "Cornell", "objects",
    [
        {"movieTitle": "the mill", "characterName1": "GRETA", "characterName2": "OTTO", "utterance": {
            "text": ["Where did you hide the letters that he wrote?", "In the well."], "LineID": ["L1", "L2"]}},
        {"movieTitle": "the mill", "characterName1": None, "characterName2": "OTTO", "utterance": {
            "text": ["Nobody told me that you would be back so soon.", "Nobody knew."], "LineID": ["L3", "L4"]}},
    ],
    [
        ("OTTO", "GRETA", "Where did you hide the letters that he wrote?"),
        ("Person B", "Person A", "Nobody told me that you would be back so soon."),
    ],
)  # fmt: skip

HISTORY = Example(
    "Persona-Chat with histories", "objects",
    [
        {"personality": ["i ski ."], "utterances": [
            {"candidates": ["x", "i ski ."], "history": ["what do you do in winter ?"]},
            {"candidates": ["y", "alone ."], "history": [
                "what do you do in winter ?", "i ski .", "with whom do you go up there ?"]}]},
    ],
    [("Person B", "Person A", "with whom do you go up there ?")],
)  # fmt: skip

SITUATED = Example(
    "messages with a situation", "messages",
    [
        {"conv_id": "1", "emotion": "joy", "situation": "She has won a race.", "conversations": [
            {"role": "user", "content": "I won!"}, {"role": "assistant", "content": "Well run!"}]},
    ],
    [("Assistant", "User", "I won!")],
)  # fmt: skip

PAIRS = Example(
    "turns as pairs", "turns",
    [
        {"dialogue": [["Uma", "Who let the goats into the garden last night?"], ["Ed", "You."], ["Uma", "Me?"]]},
        {"dialogue": [["Ed", "Uma?"], ["Ed", "Are you still looking for the goats up there?"], ["Uma", "Yes."]]},
    ],
    [
        ("Ed", "Uma", "Who let the goats into the garden last night?"),
        ("Uma", "Ed", "Are you still looking for the goats up there?"),
    ],
)  # fmt: skip

HUMAN = Example(
    "turns that tell human from bot", "objects",
    [
        {"conversation": [
            {"message": "Wait.", "is_human": True},
            {"message": "Who goes there in the middle of the night?", "is_human": True},
            {"message": "A friend.", "is_human": False}]},
    ],
    [("Assistant", "User", "Who goes there in the middle of the night?")],
)  # fmt: skip

SCRIPTED = Example(
    "SODA's columns with the dialogue as one text", "soda",
    [
        {"narrative": "Two at a well.", "dialogue": "Ned: Is it deep?\nOla: Very.", "speakers": ["Ned", "Ola"]},
        {"narrative": "Two at a well.", "dialogue": "Ola: Drop a stone.\nNed: Done.", "speakers": ["Ned", "Ola"]},
    ],
    [("Ola", "Ned", "Is it deep?"), ("Ned", "Ola", "Drop a stone.")],
)  # fmt: skip

INSTRUCTION = Example(
    "instructions with input", "bare",
    [{"instruction": "Say this more kindly:", "input": "Get out of my kitchen.", "output": "Please leave."}],
    [("Person B", "Person A", "Say this more kindly: Get out of my kitchen.")],
)  # fmt: skip

TEMPLATE = Example(
    "a filled chat template", "template",
    [
        {"text": "<|im_start|>system\nYou are Orla.<|im_end|>\n<|im_start|>user\nHow long must this dough rest before"
                 " I bake it?<|im_end|>\n<|im_start|>assistant\nOvernight.<|im_end|>\n"},
        {"text": "<|im_start|>system\nBe brief.<|im_end|>\n"},
    ],
    [("Assistant", "User", "How long must this dough rest before I bake it?"), NO_DIALOGUE],
)  # fmt: skip

HISTORY_PAIRS = Example(
    "instructions with a history of pairs", "pairs",
    [
        {"instruction": "Thanks!", "input": "", "output": "You are welcome.", "history": [
            ["Which bus goes to the lake?", "Line three, every ten minutes."], ["And on Sundays?", "Twice a day."]]},
        {"instruction": "Is the bridge open?", "input": "", "output": "It is.", "history": []},
    ],
    [("Assistant", "User", "Thanks!"), ("Assistant", "User", "Is the bridge open?")],
)  # fmt: skip

EXAMPLES = [
    SODA, KOREAN, NUMPY, DAILY, NAMED_TURNS, CHAT_TABLE, SHAREGPT, MESSAGES, PARTS, SAMSUM, DIALOGSUM, PERSONA_CHAT,
    EMPATHETIC, FORUM, NARRATIVE, CONTEXT, PROMPT, MULTIWOZ, SGD, CONVAI, CORNELL, HISTORY,
    SITUATED, PAIRS, HUMAN, SCRIPTED, INSTRUCTION, TEMPLATE, HISTORY_PAIRS,
]  # fmt: skip
