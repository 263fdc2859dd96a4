package plan

import (
	"time"

	"perdure/internal/shape"
)

// longest bounds every time in a plan.
const longest = 30 * 24 * time.Hour

// mostSteps bounds one document; larger plans are made of subplans.
const mostSteps = 10000

// mostArmed bounds the armed runs of one plan.
const mostArmed = 16

// MostAttachments bounds the files that are handed in with one task.
const MostAttachments = 8

const (
	stepPattern       = `^[a-z]([a-z0-9-]{0,62}[a-z0-9])?$`
	stepAllowed       = "lower-case letters, digits and hyphens, a letter first, at most 64"
	identifierPattern = `^[a-z][a-zA-Z0-9_]{0,63}$`
	identifierAllowed = "a letter, then letters, digits and _, at most 64"
)

// Shape is what a document of kind Plan may look like; head are the fields that every document has.
func Shape(head []shape.Field) shape.Shape {
	step := stepFields()
	template := shape.AnObject(step[1:]) // all but the id
	return shape.AnObject(append(head,
		shape.Field{Name: "name", Doc: "Name of the plan.", Shape: shape.Formed(stepPattern, stepAllowed, 64), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "modes", Doc: "What the plan may be run as; each mode has its contract.", Shape: shape.AList("modes", 1, len(Modes()), shape.OneOf(Modes()...), nil), Required: true},
		shape.Field{Name: "system", Doc: "System that the plan is about.", Shape: shape.Name("the name of a system")},
		shape.Field{Name: "tenant", Doc: "Institution whose plan it is; by default it is the platform's own.", Shape: shape.Name("the name of a tenant")},
		shape.Field{Name: "rto", Doc: "Recovery time objective that the plan has to meet.", Shape: shape.DurationBetween(time.Second, longest)},
		shape.Field{Name: "parameters", Doc: "Values that are given when a run starts.", Shape: shape.AList("parameters", 0, 256, parameter(), shape.By("name"))},
		shape.Field{Name: "templates", Doc: "Steps to begin with, by name: a step that uses one has what it does not say itself.", Shape: shape.TableOf("templates by name", stepPattern, template)},
		shape.Field{Name: "steps", Doc: "What is done. A step waits for the one before it, unless it says for which.", Shape: ordered(shape.AList("at least one step", 1, mostSteps, shape.AnObject(step), shape.By("id"))), Required: true},
		shape.Field{Name: "outputs", Doc: "What a run gives to the plan it is part of: expressions over steps and params.", Shape: expressions()},
		shape.Field{Name: "armed", Doc: "Runs that have to be able to begin at any moment: the platform looks ahead at them again and again.", Shape: shape.AList("armed runs", 0, mostArmed, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the armed run, unique in the plan.", Shape: shape.Formed(stepPattern, stepAllowed, 64), Required: true},
			{Name: "mode", Doc: "Mode that it would begin in.", Shape: shape.OneOf(Modes()...), Required: true},
			{Name: "parameters", Doc: "Parameters that it would begin with.", Shape: shape.TableOf("values by name", identifierPattern, shape.AnyValue("a value"))},
		}), shape.By("name"))},
	))
}

func stepFields() []shape.Field {
	call := call()
	return []shape.Field{
		{Name: "id", Doc: "Name of the step, unique in the plan.", Shape: shape.Formed(stepPattern, stepAllowed, 64), Required: true},
		{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		{Name: "system", Doc: "System that the step is about, where what it acts on does not say so.", Shape: shape.Name("the name of a system")},
		{Name: "use", Doc: "Template whose fields the step takes where it has none of its own.", Shape: shape.Formed(stepPattern, "the name of a template of the plan", 64)},
		{Name: "after", Doc: "Steps it waits for: id, id.declined (an approval that was declined) or id.failed (a failure that the run goes on after). By default the step before it; [] for none.", Shape: shape.AList("ids of steps", 0, mostSteps, shape.Formed(`^[a-z]([a-z0-9-]{0,62}[a-z0-9])?(\.(declined|failed))?$`, "the id of a step, or id.declined, or id.failed", 80), nil)},
		{Name: "when", Doc: "The step is passed over where this is false.", Shape: expression()},
		{Name: "modes", Doc: "Modes in which the step is done; by default all of the plan.", Shape: shape.AList("modes of the plan", 1, len(Modes()), shape.OneOf(Modes()...), nil)},
		{Name: "timeout", Doc: "Time of one attempt; by default that of the action, for people none.", Shape: shape.DurationBetween(100*time.Millisecond, longest)},
		{Name: "retry", Doc: "How often an attempt that failed is repeated.", Shape: shape.AnObject([]shape.Field{
			{Name: "times", Doc: "Repetitions after the first attempt.", Shape: shape.Number(1, 100), Required: true},
			{Name: "pause", Doc: "Time before the first repetition.", Shape: shape.DurationBetween(0, 24*time.Hour), Fallback: "1s"},
			{Name: "factor", Doc: "By what each further pause is longer.", Shape: shape.Number(1, 10), Fallback: "2"},
			{Name: "most", Doc: "The longest pause.", Shape: shape.DurationBetween(0, 24*time.Hour), Fallback: "1m"},
		})},
		{Name: "onFailure", Doc: "What a failure means: stop, ask, continue or compensate; by default stop.", Shape: shape.OneOf(Stop, Ask, Continue, Compensate)},
		{Name: "locks", Doc: "Names of what only one step of all runs may use at a time.", Shape: shape.AList("names of locks such as unit/u1", 0, 16, lockName(), nil)},
		{Name: "cleanup", Doc: "The step puts things back: it is done however the run ends.", Shape: shape.Flag()},
		{Name: "act", Doc: "What a driver does.", Shape: call},
		{Name: "check", Doc: "What a driver looks at.", Shape: call},
		{Name: "manual", Doc: "A task for a person.", Shape: shape.AnObject([]shape.Field{
			{Name: "owner", Doc: "Role or participant who does it.", Shape: shape.Formed(stepPattern, "a role or the name of a participant", 64), Required: true},
			{Name: "instruction", Doc: "What to do.", Shape: shape.Lines(4096), Required: true},
			{Name: "fields", Doc: "What the person fills in.", Shape: shape.AList("fields", 0, 64, parameter(), shape.By("name"))},
			{Name: "attachments", Doc: "How many files have to be attached at least; 8 can be at most.", Shape: shape.Number(0, MostAttachments)},
			{Name: "announces", Doc: "The task is the announcement to the public that the contract of an emergency asks for.", Shape: shape.Flag()},
		})},
		{Name: "approval", Doc: "A decision of people; whoever started the run has no part in it.", Shape: shape.AnObject([]shape.Field{
			{Name: "of", Doc: "Roles or participants who are asked.", Shape: ordered(shape.AList("roles or names of participants", 1, 32, shape.Formed(stepPattern, "a role or the name of a participant", 64), nil)), Required: true},
			{Name: "need", Doc: "How many different people have to approve.", Shape: shape.Number(1, 32), Fallback: "1"},
			{Name: "order", Doc: "parallel, or serial in the order of the list.", Shape: shape.OneOf(Parallel, Serial), Fallback: "parallel"},
			{Name: "text", Doc: "What is decided.", Shape: shape.Lines(4096)},
		})},
		{Name: "wait", Doc: "Time, or a condition, to wait for.", Shape: oneOf(
			shape.Field{Name: "for", Doc: "How long.", Shape: shape.DurationBetween(0, longest)},
			shape.Field{Name: "until", Doc: "What has to become true; timeout bounds it.", Shape: expression()},
		)},
		{Name: "notify", Doc: "Something that people are told.", Shape: shape.AnObject([]shape.Field{
			{Name: "to", Doc: "Roles or participants.", Shape: shape.AList("roles or names of participants", 1, 64, shape.Formed(stepPattern, "a role or the name of a participant", 64), nil), Required: true},
			{Name: "text", Doc: "What they are told.", Shape: shape.Lines(4096), Required: true},
		})},
		{Name: "subplan", Doc: "Another plan, done as one step.", Shape: shape.AnObject([]shape.Field{
			{Name: "plan", Doc: "Name of the plan.", Shape: shape.Formed(stepPattern, "the name of a plan", 64), Required: true},
			{Name: "with", Doc: "Its parameters.", Shape: values()},
		})},
		{Name: "undo", Doc: "What takes back what act did.", Shape: call},
		{Name: "precheck", Doc: "What can be looked at beforehand in the place of the step.", Shape: call},
		{Name: "outputs", Doc: "What later steps may use: expressions over result.", Shape: expressions()},
	}
}

func call() shape.Shape {
	return shape.AnObject([]shape.Field{
		{Name: "driver", Doc: "Driver.", Shape: shape.Formed(stepPattern, "the name of a driver", 64), Required: true},
		{Name: "action", Doc: "What it does or looks at.", Shape: shape.Formed(stepPattern, "an action of the driver", 64), Required: true},
		{Name: "target", Doc: "To what.", Shape: shape.Formed(`^[^\x00-\x1f\x7f]+$`, "the name of what is acted on; ${…} is an expression", 256)},
		{Name: "with", Doc: "Parameters of the action.", Shape: values()},
		{Name: "expect", Doc: "What has to be true of result.", Shape: expression()},
	})
}

func parameter() shape.Shape {
	return shape.AnObject([]shape.Field{
		{Name: "name", Doc: "Name.", Shape: shape.Formed(identifierPattern, identifierAllowed, 64), Required: true},
		{Name: "doc", Doc: "What it is.", Shape: shape.Lines(1024)},
		{Name: "type", Doc: "text, number, boolean, duration or choice.", Shape: shape.OneOf(Text, Number, Boolean, Duration, Choice), Fallback: "text"},
		{Name: "of", Doc: "What a choice may be.", Shape: shape.AList("values", 1, 256, shape.Title(), nil)},
		{Name: "required", Doc: "It has to be given.", Shape: shape.Flag()},
		{Name: "default", Doc: "What it is where it is not given.", Shape: shape.AnyValue("a value of the type")},
	})
}

func expression() shape.Shape {
	return shape.Formed(`^[^\x00-\x08\x0b-\x1f\x7f]+$`, "an expression (CEL)", 2048)
}

func expressions() shape.Shape {
	return shape.TableOf("expressions by name", identifierPattern, expression())
}

func values() shape.Shape {
	return shape.TableOf("values by name", identifierPattern, shape.AnyValue("a value, or ${…} for an expression"))
}

func lockName() shape.Shape {
	return shape.Formed(`^[A-Za-z0-9._:/${}-]+$`, "the name of a lock such as unit/u1", 128)
}

func ordered(s shape.Shape) shape.Shape {
	s.Ordered = true
	return s
}

func oneOf(fields ...shape.Field) shape.Shape {
	s := shape.AnObject(fields)
	s.OneOf = s.Fields
	return s
}
