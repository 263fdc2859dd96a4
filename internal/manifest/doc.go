// Package manifest is what people declare about their estate: YAML documents of the kinds Site, System, Function, Participant, CommandGroup,
// Plan, Calendar and IncidentRules, read as one set, checked as one set and applied whole or not at all (design §3).
//
// Reading has three steps. The tree of a document is held against the shape of its kind: unknown fields, missing fields,
// wrong forms. What is left is decoded, with its defaults filled in. Then the documents are held against each other:
// references, slots, ports, quorum, plausibility. Every problem is collected; none hides another, and a problem that only
// follows from one already told is left out.
//
// The shapes are the one source of the field names, the forms and the defaults. The JSON Schema for editors is written from
// them, so that the schema and the parser give the same verdict on everything that is structural.
//
// Secrets are references (env:NAME, file:PATH), never values, and no problem ever repeats what stood in a secret's place.
package manifest

//go:generate go test . -run TestSchemaFileIsWhatTheParserSays -update
