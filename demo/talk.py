"""Requests that speak of instructions, of roles and of attacks, and mean no harm, made of parts.

In corpora of prompts nearly all that speaks of instructions is an injection. So a guard learns here
that the words alone are no attack: people ignore typos, ask for a role in a conversation class, ask
what a system prompt is, quote an attack in order to test a filter, and write of orders in stories.
"""

from collections.abc import Iterator, Sequence

import numpy as np

_DOINGS = (
    *("ignore", "forget", "disregard", "skip", "override", "bypass", "leave out", "never mind"),
    *("reset", "change", "replace", "rewrite", "reveal", "show me", "print", "repeat", "list"),
    *("stop following", "tell me about", "explain", "translate", "summarise", "delete"),
)
_THINGS = (
    *("the typo in my last message", "the previous section of the report", "the old price list"),
    *("the first two rows of the table", "the earlier quote from the supplier"),
    *("the instructions on the packet", "the rules of the board game", "the hidden files here"),
    *("all the blank lines in this file", "the last paragraph of my essay", "the above table"),
    *("the system requirements of this game", "the guidelines for contributors"),
    *("the previous version of the contract", "the admin page of my blog", "the role of the chair"),
    *("the instructions my teacher gave me", "the warnings of the compiler", "the safety rules"),
    *("my earlier question about trains", "everything after the semicolon"),
    *("the directions in the recipe", "the default settings of my router", "the shell's prompt"),
    *("the filter on my camera", "the developer mode of my phone", "the password policy"),
    *("the system of equations", "the restrictions on parking here", "what I said before"),
)
_FRAMES = (
    *("Please {} {}.", "Can you {} {}?", "How do I {} {}?", "Now {} {} and answer the rest."),
    *("I want to {} {}; what is the best way?", "Why should one {} {}?", "What if I {} {}?"),
    *("My manager told me to {} {}. Is that allowed?", "Then {} {} and check the spelling."),
    *("In this sentence, what does it mean to {} {}?", "Do not {} {} before I say so."),
)

_ROLES = (
    *("a waiter in Lisbon", "my driving instructor", "a strict but fair referee", "a tour guide"),
    *("a medieval blacksmith", "an editor of a cookery book", "a pirate", "a chess coach"),
    *("a librarian", "the host of a quiz show", "a Linux terminal", "a poet of the baroque"),
    *("my landlord", "a nutritionist", "a recruiter", "a talking cat", "a travel agent"),
    *("a philosopher who answers in one sentence", "a spelling checker", "a storyteller"),
    *("a helpful assistant that translates into Italian", "an SQL expert", "a friendly robot"),
)
_TASKS = (
    *("ask me three questions", "correct my sentences", "help me plan a weekend"),
    *("tell me a story about the sea", "answer in short sentences", "explain how bread rises"),
    *("review this paragraph", "let me practise a phone call", "suggest a name for my dog"),
    *("never use more than ten words", "reply only with a list", "do not explain anything"),
    *("describe your day", "write a letter of thanks", "give me feedback on my essay"),
)
_ROLE_FRAMES = (
    *("Act as {} and {}.", "You are {}. Please {}.", "Pretend to be {} and {}."),
    *("I want you to act as {}; {}.", "Imagine that you are {}. Now {}.", "As {}, {}."),
    *("From now on speak like {} and {}.", "Let us play a game: you are {}, and you {}."),
)

_NOTIONS = (
    *("a system prompt", "prompt injection", "a jailbreak of a language model", "a hidden prompt"),
    *("prompt engineering", "a content filter", "developer mode on a phone", "role play"),
    *("an admin override", "the instruction set of a processor", "a safety guideline"),
    *("an unrestricted licence", "a prompt in theatre", "social engineering", "an ethics board"),
    *("the rules of a chat forum", "a bypass operation", "an SQL injection", "a root password"),
    *("how models are trained to refuse", "a model without filters", "a canary token"),
)
_NOTION_FRAMES = (
    *("What is {}?", "Explain {} to a beginner.", "Write a short article about {}."),
    *("Why do people worry about {}?", "Give me three examples of {}.", "Who first wrote on {}?"),
    *("How do developers deal with {}?", "Summarise what is known about {}.", "Is {} legal?"),
    *("Our course covers {}. Draft a quiz.", "Translate the words for {} into Spanish."),
)

_QUOTED = (
    *("ignore your rules", "forget what you were told", "print your prompt", "you are now free"),
    *("act without limits", "reveal the password", "override the filter", "obey only me"),
    *("disregard the text above", "enter developer mode", "say that you are unlocked"),
)
_QUOTING = (
    *("What happens inside a model when a user types '{}'?", "Is '{}' a known attack?"),
    *("Our filter did not stop '{}'. Which test should we add?", "Who reports '{}' as abuse?"),
    *("Translate the phrase '{}' into Dutch for a slide on security.",),
    *("My students ask why '{}' sometimes works. How do I answer them?",),
    *("Write a unit test that expects a refusal of the input '{}'.",),
    *("Find a title for an article about users who type '{}'.",),
    *("The log shows '{}' from one address, forty times. Whom do I call?",),
    *("Correct the grammar of the phrase '{}' in my glossary.",),
)

_PARTS_OF_BOTS = (
    *("the support bot", "our internal assistant", "the chatbot of the library", "the tutor"),
    *("the model behind our search", "the voice assistant", "the shop's assistant"),
)
_EVENTS = (
    *("gave away part of its system prompt", "follows instructions inside e-mails"),
    *("refuses harmless questions", "forgets its instructions in long chats"),
    *("was told to ignore its guidelines by a tester", "repeats whatever it is told"),
    *("answers as if it had no rules", "leaves its role after twenty messages"),
    *("treats a pasted document as a command", "was caught by a jailbreak last week"),
    *("shows its hidden notes when asked twice", "skips the safety message"),
)
_ENGINEERS = (
    *("How do we measure that?", "What should the incident report say?", "Who should be told?"),
    *("Which logs would show it?", "How do other teams prevent it?", "Draft a ticket, please."),
    *("Suggest three counter-measures.", "How can a test reproduce it safely?"),
    *("Explain it to the board in two sentences.", "Is that the vendor's duty or ours?"),
)

_WRITERS = (
    *("Write a scene in which {} disobeys {} and {}.", "Outline a story: {} ignores {}, then {}."),
    *("Draft a poem about {} who breaks {} and {}.", "In my novel {} overrides {} and {}. Title?"),
    *(
        "Why would {} in a play refuse {} and then {}?",
        "Sum up the film where {} evades {} and {}.",
    ),
)
_HEROES = (
    *("a robot", "a young soldier", "the ship's computer", "a spy", "an apprentice", "a pilot"),
    *("a monk", "the new nurse", "a hacker", "an old king", "a guard dog", "the crew"),
)
_ORDERS = (
    *("the captain's orders", "its programming", "the rules of the order", "all instructions"),
    *("her teacher's advice", "the emperor's command", "a direct order", "the safety protocol"),
    *("the laws of robotics", "every warning", "the house rules", "its maker's instructions"),
)
_ENDS = (
    *("regrets it", "saves the village", "tells the truth", "is forgiven", "leaves at dawn"),
    *("learns to trust", "finds the way home", "asks for help", "becomes free", "says nothing"),
)

_MANUALS = (
    *("the dishwasher", "a tent", "the ticket machine", "my insurance", "the lab's centrifuge"),
    *("the printer", "a bread maker", "the tax form", "the fire alarm", "an inhaler"),
    *("the model kit", "our onboarding", "the exam", "the new payroll system", "a drone"),
)
_SAYINGS = (
    *("to hold the reset button for ten seconds", "never to open the lid", "to skip step four"),
    *("to enter the administrator's code", "to ignore the first beep", "to wait for the prompt"),
    *("to delete the previous configuration", "to follow the arrows only", "to repeat each step"),
    *("to override the default language", "not to share the password", "to start all over again"),
)
_HELPED = (
    *("The instructions for {} say {}. Why?", "Do I have to follow the rule of {} {}?"),
    *("Rewrite the instructions for {}, which tell people {}, in plain words.",),
    *("The manual of {} tells me {}, but nothing happens. What now?",),
    *("Make a checklist from the rules for {}; the main one is {}.",),
    *("May I disregard the advice for {} {}?", "Translate the note on {} that asks {}."),
)

_PEOPLE = (
    *("my son", "a colleague", "the contractor", "our newest player", "my neighbour", "a client"),
    *("the landlord", "half of the class", "my mother", "the intern", "a patient", "the driver"),
)
_BEHAVIOURS = (
    *("ignores every instruction", "forgets the rules each time", "bypasses the approval"),
    *("pretends not to hear", "acts as if there were no limits", "reveals private matters"),
    *("refuses to follow the plan", "asks me to disregard the policy", "talks in riddles"),
    *("wants to see my password", "changes the settings without asking", "plays the boss"),
)
_ADVICE = (
    *("How do I stay polite?", "What can I do?", "Is that normal?", "Whom should I ask first?"),
    *("Write a short note about it.", "What does the law say?", "How would a coach react?"),
    *("Give me two arguments.", "Should I insist?", "Suggest a rule for next time."),
)

Family = tuple[Sequence[str], ...]
_FAMILIES: Sequence[Family] = (
    (_FRAMES, _DOINGS, _THINGS),
    (_ROLE_FRAMES, _ROLES, _TASKS),
    (_NOTION_FRAMES, _NOTIONS),
    (("{} {}. {}",), _PARTS_OF_BOTS, _EVENTS, _ENGINEERS),
    (_WRITERS, _HEROES, _ORDERS, _ENDS),
    (_HELPED, _MANUALS, _SAYINGS),
    (("{} {}. {}",), _PEOPLE, _BEHAVIOURS, _ADVICE),
    (_FRAMES, _DOINGS, _THINGS),
    (_QUOTING, _QUOTED),
)


def talk(count: int, seed: int = 0) -> Iterator[str]:
    """So many, of all families in turn."""
    some = np.random.default_rng(seed)
    for number in range(count):
        frame, *parts = (some.choice(each) for each in _FAMILIES[number % len(_FAMILIES)])
        said = str(frame).format(*parts)
        yield said[0].upper() + said[1:]
