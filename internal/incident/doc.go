// Package incident is a disruption of service 运营中断事件 from its opening to its closing review: what is affected, who declared it, its class
// by declared thresholds, what has to be reported and announced by when, and what was measured of it.
//
// An Incident changes only through Apply, which is pure: its caller names the instant and the person, and commits the outcome on the condition of
// the incident's revision. Class, clocks and tasks are worked out from the incident and from Rules, never kept: they follow from what is known.
//
//	N1  An incident is declared once, by a named person; from then on its rules are those that were in force.
//	N2  A task is settled once: done, or waived with a reason, by a named person.
//	N3  It is closed only when service is back, every task that its class asks for is settled, and it was reviewed by another person than declared
//	    it, after the last change of what it says.
//	N4  A closed incident never changes.
//	N5  What nobody said and nothing measured is not known, and never counts as reached, met or zero.
//	N6  One that nobody has declared may be joined into another one, of the same kind: from then on it is part of that one, whose clocks, class, tasks
//	    and closing are its own too. It never changes again, and is declared, reported and closed nowhere else.
package incident
