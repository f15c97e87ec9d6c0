"""Passages of several domains with what a good writer would ask of each: examples shown to a language model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExamplePassage:
    """A passage and, by the word of each kind of question, what could be searched for to find it."""

    text: str
    questions: str
    claims: str
    titles: str
    keywords: str
    web: str


EXAMPLES = (
    ExamplePassage(
        text="Revenue of the ferry division rose by 6.4 percent to 88.1 million crowns. The winter timetable, "
        "which was thinned out in January, cost some 40,000 passengers, yet higher fares for lorries and a "
        "new contract for island mail more than made up for them. Fuel expenses fell as two of the five "
        "ships now run on electricity while they lie in port.",
        questions="Why did the ferry division earn more although it carried fewer passengers in winter?",
        claims="Freight prices and a mail contract outweighed the passengers lost to a reduced winter schedule.",
        titles="Ferry Division: Annual Results and Causes",
        keywords="shipping company earnings, freight rates, seasonal demand, energy costs",
        web="ferry company annual report revenue growth reasons",
    ),
    ExamplePassage(
        text="Before the pump is opened, close both shut-off valves and wait until the gauge shows no pressure. "
        "Undo the four bolts of the cover crosswise. If the seal is hard or cracked, replace it together "
        "with the spring; a new seal on a worn spring begins to drip within weeks. Grease the shaft "
        "sparingly, since surplus grease finds its way into the water.",
        questions="What has to be replaced along with a cracked pump seal?",
        claims="Fitting only a new seal while keeping a tired spring soon leads to leaks.",
        titles="Replacing the Shaft Seal of a Water Pump",
        keywords="pump maintenance, leak repair, spare parts, safety steps",
        web="how to change water pump seal",
    ),
    ExamplePassage(
        text="Bumblebees that were kept at 32 degrees for three days found the scented feeder in 41 percent of "
        "the trials, against 73 percent in a group kept at 24 degrees. The effect vanished after a week at "
        "normal temperature. Antennae of the warm group responded less to the scent, so that the loss seems "
        "to lie in smelling rather than in remembering.",
        questions="Do heat waves impair the memory of bumblebees or their sense of smell?",
        claims="Exposure to heat temporarily weakens how well bumblebees perceive odours.",
        titles="Heat Reduces Scent Detection in Bumblebees",
        keywords="pollinators, temperature stress, olfaction, insect behaviour",
        web="effect of high temperature on bees finding food",
    ),
    ExamplePassage(
        text="Dear Mrs Okafor, thank you for your letter of 3 May about the lime trees in Mill Lane. The "
        "council's surveyor found rot in two of them, and these will be felled in October, after the birds "
        "have left. The other nine are sound and stay. In their first two years the young trees that follow "
        "will be watered by the fire brigade, so residents need not worry about that.",
        questions="When will the diseased trees in Mill Lane be cut down, and why not earlier?",
        claims="Most of the street's limes are healthy and will be preserved.",
        titles="Council's Reply on the Mill Lane Trees",
        keywords="street trees, local government, felling, residents' complaint",
        web="mill lane lime trees council decision",
    ),
    ExamplePassage(
        text="The tenant may hand the flat to another person for up to six months in a year if the landlord has "
        "been told in writing at least thirty days before. The landlord may object only for a grave reason, "
        "such as overcrowding. Rent that the subtenant pays above the rent of this contract belongs to the "
        "landlord.",
        questions="Is a tenant allowed to keep the profit from subletting the apartment?",
        claims="A landlord needs a serious ground to forbid temporary subletting.",
        titles="Conditions for Subletting the Flat",
        keywords="tenancy agreement, sublease, notice period, landlord rights",
        web="subletting apartment rules notice to landlord",
    ),
    ExamplePassage(
        text="Work on the canal began in 1791 and came to a halt two years later, when the company had spent all "
        "its capital on the first eleven locks. Only a lottery licensed by parliament brought in enough to "
        "reach the coalfields. By the time the first barge arrived, in 1802, a horse-drawn railway was "
        "already being planned along the same valley.",
        questions="How was the construction of the canal paid for after the company ran out of money?",
        claims="A state-approved lottery rescued the unfinished waterway.",
        titles="The Troubled Building of the Coal Canal",
        keywords="industrial history, waterways, infrastructure financing, coal transport",
        web="history of 18th century coal canal funding",
    ),
    ExamplePassage(
        text="If the app shows code E17 after an update, the device still holds the certificate of the old "
        "server. Open the settings, choose Accounts, remove the account and add it again; your files are "
        "kept. Devices that are managed by a company get the new certificate overnight, and users of these "
        "should simply wait until the next day.",
        questions="Will my files be deleted if I remove my account to get rid of error E17?",
        claims="An outdated server certificate causes the error that appears after updating.",
        titles="Solving Error E17 After an Update",
        keywords="troubleshooting, software update, certificates, account settings",
        web="error e17 app after update fix",
    ),
    ExamplePassage(
        text="In adults with mild asthma, inhaling the drug only when symptoms occurred prevented severe attacks "
        "as well as daily use did over twelve months (8 against 9 attacks per hundred patients). The total "
        "dose was less than a fifth. Breathing tests in the morning were slightly better in those who "
        "inhaled daily.",
        questions="Is it enough for people with mild asthma to use an inhaler only when they need it?",
        claims="Using an inhaler on demand protects mild asthmatics from serious attacks like a daily regimen.",
        titles="As-Needed or Daily Inhalers in Mild Asthma",
        keywords="respiratory disease, treatment regimen, clinical trial, drug dose",
        web="mild asthma inhaler daily vs as needed study",
    ),
)
