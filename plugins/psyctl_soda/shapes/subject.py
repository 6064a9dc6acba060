"""Who a scene is about, where one of its sentences begins with somebody's name as its subject.

A wrong name costs more than none, so a name needs evidence: it is a common one, it stands capitalised in the
middle of a sentence too, or it does what only people do. Text in the first person names its teller by "I".
"""

from __future__ import annotations

import re

MAX_LOOKED_AT = 2000

_SUBJECT = re.compile(
    r"(?:^|[.!?…][\"”']?\s+)([A-Z][a-zà-ÿ]+)(?: and [A-Z][a-zà-ÿ]+)? "
    r"((?:is|was|has|had|does|did|will|would|can|could|went|sat|stood|ran|came|felt|saw|said|told|knew|thought|met|bought|"
    r"wrote|heard|taught|forgot|found|lost|got|made|took|gave|left|kept|began|woke|ate|drove|rode|flew|read|ist|war|"
    r"(?!this |his |its |as |us |was )[a-z]{2,}(?:s|ed))\b(?: \w+){0,2})"
)
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'll|I'd|my|My|me|Me|mine|we|We|our|Our|us)\b")
_TOLD_OF = re.compile(r"\b(?:he|she|his|her|him|himself|herself)\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“][^\"”]{0,1000}[\"”]")

NO_NAMES = frozenset(
    """
    a about above across after afterwards again against ago all almost alone along already also although always am
    among an and another any anybody anyone anything apart are around as at away back be because been before behind
    being below beside besides best better between beyond both bring but by call came can cannot certain come
    consider could currently dear despite did do does done down due during each early either else enough even
    eventually ever every everybody everyone everything everywhere except far few finally find first firstly five
    for forget four from fun further general get gets give given go goes gone good got great had half has have
    having he hello help hence her here hers herself hey hi him himself his how however i if imagine in indeed
    inside instead into is it its itself just keep last lastly late later latest least less let life like likely
    little long look lots love luckily make many may maybe me meanwhile might mine more moreover most much must my
    myself near nearly neither never nevertheless new next nine no nobody none nor not nothing now nowhere of off
    often oh okay on once one only onto or other others otherwise ought our ours out outside over own part past
    people perhaps please plenty put quite rather really remember right round same say says see seeing seems seven
    several shall she should since six so some somebody somehow someone something sometimes somewhere soon still
    such suddenly suppose sure take tell ten than thank thanks that the their theirs them themselves then there
    therefore these they things think this those though three through throughout thus time to today together
    tomorrow tonight too toward towards true try two under unfortunately unless until up upon us use usually very
    was watch we welcome well went were what whatever when whenever where wherever whether which while who whoever
    whole whom whose why will wish with within without work would wow write yeah yes yesterday yet you young your
    yours yourself monday tuesday wednesday thursday friday saturday sunday january february march april june july
    august september october november december spring summer autumn fall winter christmas easter halloween
    thanksgiving morning noon afternoon evening night midnight dawn dusk dinner lunch breakfast supper food bread
    water coffee tea wine beer milk rain snow wind fog sun moon light darkness fire smoke music silence laughter
    traffic money news school college university class homework church war peace history science art nature death
    hate anger joy fear hope trust truth fate luck justice beauty pain grief sleep health home business company
    government police mankind humanity society customer student teacher doctor nurse mother father mom mum dad
    grandma grandpa grandmother grandfather aunt uncle son daughter brother sister husband wife child baby kid boy
    girl man woman friend boss neighbor neighbour captain guard stranger user person character player speaker
    english french german spanish chinese japanese korean american british russian italian european african chapter
    scene act title setting context note question answer story summary
    """.split()  # noqa: SIM905 - thousands of quotes would be no easier to read
)
"""Words that begin sentences and are no names: closed-class words, days, and nouns that stand without an article."""

COMMON = frozenset(
    """
    aaron abby abigail adam aditya adrian ahmed aiden aisha alan albert alejandro alex alexa alexander alexandra
    alexis alfred ali alice alicia alina allison amanda amber amelia amir amy ana andre andrea andreas andrew angela
    anika anita ann anna anne annie anthony antonio aria ariana ariel arjun arthur asha ashley audrey aurora austin
    ava avery bailey barbara beatrice becky bella ben benjamin bernard beth betty bianca bill billy bob bobby brad
    brandon brenda brian brianna brittany bruce bryan caleb cameron camila carl carla carlos carmen carol caroline
    carrie casey cassandra catherine cathy cecilia charles charlie charlotte chen chloe chris christian christina
    christine christopher cindy claire clara claudia cody colin connor craig crystal cynthia daisy dan dana daniel
    daniela danielle danny darius dave david dawn dean deborah debra delilah dennis derek diana diane diego dmitri
    dominic don donald donna doris dorothy doug douglas dylan edith edward eileen elaine eleanor elena eli elias
    elijah elizabeth ella ellen ellie emil emilia emily emma eric erica erik erin esther ethan eva evan eve evelyn
    fatima felix fiona florence frances francesca francis frank fred gabriel gabriela gary gavin george gerald gina
    giovanni gloria grace graham greg gregory greta hana hannah hans harold harper harriet harry hassan heather
    hector heidi helen helena henry hiroshi holly hugo ian ibrahim ida igor ines ingrid irene iris isaac isabel
    isabella isaiah ivan ivy jack jackie jackson jacob jade jaime jake james jamie jane janet janice jared jasmine
    jason javier jay jean jeff jeffrey jen jenna jennifer jenny jeremy jerry jesse jessica jessie jesus jill jim
    jimmy joan joanna joe joel johan johanna john johnny jon jonas jonathan jordan jorge jose joseph josh joshua
    joyce juan juanita judith judy julia julian juliana julie justin kai karen karim karl kate katherine kathleen
    kathryn kathy katie kayla keith kelly kelsey ken kenji kenneth kevin khalid kim kimberly kyle kylie lara larry
    latoya laura lauren laurie layla leah lee leila lena leo leon leonard leslie liam lila lily linda lindsay lisa
    liz logan lola lorenzo louis louise lucas lucia lucy luis luka lukas luke luna lydia lynn madeline madison
    maggie mara marc marco marcus margaret maria mariam marie marilyn mario marion marissa mark marta martha martin
    mary mason mateo matt matteo matthew max maya megan mei melanie melissa mia michael michelle miguel mike mila
    miles milo mina miranda mohamed mohammed moira molly monica morgan muhammad mustafa nadia nancy naomi natalia
    natalie natasha nathan nathaniel neil nia nicholas nick nicole nina noah noel nora norma oliver olivia omar
    oscar otto owen pablo paige pamela patricia patrick paul paula pedro penelope penny peter petra phil philip
    phoebe phyllis piper priya quinn rachel rafael raj ralph ramon randy raul ravi raymond rebecca reggie renee
    rhonda ricardo richard rick riley rita rob robert roberta robin rodney roger ron ronald rosa rosalie rosie ross
    roy ruby russell ruth ryan sally sam samantha samir samuel sandra sandy sara sarah scott sean sebastian selena
    serena sergio shane shannon sharon shawn sheila shelly sienna silvia simon sofia sonia sophia sophie stacey
    stanley stefan stella stephanie stephen steve steven stuart sue susan suzanne sven sylvia tamara tanya tara
    taylor ted teresa terry theo theodore theresa thomas tiffany tim timothy tina todd tom tommy toni tony tracy
    travis trevor tristan tyler uma ursula valentina valerie vanessa vera veronica victor victoria vijay vincent
    viola violet virginia vivian walter wanda wayne wendy wesley wei will william xavier yasmin yolanda yosef yuki
    yusuf yvonne zach zachary zara zoe zoey
    """.split()  # noqa: SIM905 - thousands of quotes would be no easier to read
)
"""Given names that are common in English text, in small letters."""

_ACTS = re.compile(
    r"^(?:says?|said|asks?|asked|tells?|told|knows?|knew|thinks?|thought|wants?|wanted|wonders?|wondered|decide[sd]?|"
    r"hopes?|hoped|feels?|felt|believe[sd]?|remembers?|remembered|forgot|forgets?|smile[sd]?|laugh(?:s|ed)?|sighs?|sighed|"
    r"nods?|nodded|walks?|walked|visits?|visited|meets?|met|bought|buys?|invite[sd]?|studie[sd]|teaches|taught|reads?|"
    r"writes|wrote|hears?|heard|watche[sd]|apologize[sd]?|promise[sd]?|refuse[sd]?|realize[sd]|loves|loved|hates|hated|"
    r"enjoys|enjoyed|worrie[sd]|regrets|confesse[sd]|agree[sd]|plans|planned|tries|tried|"
    r"(?:is|was|has been|had been) (?:very |so |really |quite |a |an )?"
    r"(?:sitting|waiting|talking|trying|thinking|wondering|visiting|writing|reading|walking|planning|preparing|feeling|"
    r"hoping|happy|sad|angry|excited|nervous|tired|hungry|worried|upset|afraid|proud|jealous|lonely|ashamed|grateful|shy|"
    r"student|teacher|nurse|doctor|lawyer|baker|farmer|painter|sailor|worried|eager|anxious|embarrassed|surprised))\b"
)


def subject(scene: object) -> str:
    """The name of whoever a sentence of the scene is about, or "" where none can be told for sure."""
    if not isinstance(scene, str):
        return ""
    text = scene[:MAX_LOOKED_AT]
    if _FIRST_PERSON.search(_QUOTED.sub(" ", text)):
        return ""
    for match in _SUBJECT.finditer(text):
        name, predicate = match[1], match[2]
        if name.lower() not in NO_NAMES and not _is_a_place(name, text) and _is_a_person(name, predicate, text):
            return name
    return ""


def _is_a_place(name: str, text: str) -> bool:
    return re.search(rf"\b(?:in|at|to|from|near|of|the|on|across|through|around) {name}\b(?!['’]s)", text) is not None


def _is_a_person(name: str, predicate: str, text: str) -> bool:
    if name.lower() in COMMON:
        return True
    if name.endswith(("ing", "ly", "ness", "tion", "ment", "ity", "ism")) or (
        name.endswith("s") and not name.endswith("is")
    ):
        return False
    told_of = _TOLD_OF.search(text) is not None
    inside = re.search(rf"[a-z,;] {name}\b(?! [A-Z])", text) is not None
    return (bool(_ACTS.match(predicate)) and (told_of or inside)) or (inside and told_of)
