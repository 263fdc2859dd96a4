package wire

import (
	"time"

	"perdure/internal/ballot"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Run is a run at a glance: what the list of runs shows, and what a change of its journal is conditional on.
type Run struct {
	ID    string    `json:"id"`
	Plan  string    `json:"plan"`
	Title string    `json:"title,omitempty"`
	Mode  plan.Mode `json:"mode"`
	// Tabletop: people walk the plan around a table, and nothing is done.
	Tabletop bool `json:"tabletop,omitempty"`
	// Tenant is the institution whose run it is; empty: the platform's own.
	Tenant    estate.TenantID `json:"tenant,omitempty"`
	StartedBy string          `json:"startedBy"`
	// StartedAt and FinishedAt are Unix milliseconds.
	StartedAt  int64       `json:"startedAt"`
	FinishedAt int64       `json:"finishedAt,omitempty"`
	Phase      run.Phase   `json:"phase"`
	Paused     bool        `json:"paused,omitempty"`
	Outcome    run.Outcome `json:"outcome,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Steps      int         `json:"steps"`
	Settled    int         `json:"settled"`
	// Asked are steps that wait for people.
	Asked []string `json:"asked,omitempty"`
	// Notes are what the calendars said of the start. Schedules are those that the run counts for.
	Notes     []string `json:"notes,omitempty"`
	Schedules []string `json:"schedules,omitempty"`
	// ReviewDue: glass was broken in it, and nobody has reviewed that yet.
	ReviewDue bool `json:"reviewDue,omitempty"`
	// Noted: people were told something in it.
	Noted bool `json:"noted,omitempty"`
	// RetiredAt is when its journal and all that belongs to it were taken out of the store, in Unix milliseconds: they are in its pack alone.
	RetiredAt int64 `json:"retiredAt,omitempty"`
	// Seq is the number of the last entry of the journal.
	Seq int `json:"seq"`
	// Incarnation is that of the store in which a person last said that the run goes on: in another one nothing of it acts (I10).
	Incarnation estate.Incarnation `json:"incarnation"`
	// Program is the SHA-256 of the program that the run is pinned to, in hex.
	Program string `json:"program,omitempty"`
	// Revision is set when it is read from the store.
	Revision int64 `json:"revision,omitempty"`
}

// Real reports whether something is done for real in the run.
func (h Run) Real() bool { return h.Mode.Real() && !h.Tabletop }

// ByCalendar is in whose name the platform starts runs at the times of schedules; no person has it.
const ByCalendar = "calendar"

// NewRun is a run at a glance that begins with the entry.
func NewRun(id string, program *plan.Program, first run.Entry) (Run, error) {
	r := run.Begin(id, program)
	if err := r.Advance(first); err != nil {
		return Run{}, err
	}
	return Run{
		ID: id, Plan: program.Plan, Title: program.Title, Mode: program.Mode, Tabletop: program.Table, Tenant: program.Tenant, StartedBy: first.By, StartedAt: first.At.UnixMilli(),
		Phase: r.Phase, Steps: len(r.Steps), Notes: first.Notes,
	}, nil
}

// RunStart is a run that is about to be: at a glance, what it is pinned to, and what its journal begins with.
type RunStart struct {
	Head    Run
	Program *plan.Program
	Journal []run.Entry
	// Incident takes note of the start, or is opened by it; nil: the run belongs to none.
	Incident *RunIncident
	// Windows is the revision of the approvals of windows that it begins by, and not after another one; 0: it needs no window.
	Windows int64
}

// RunIncident is what the start of a run says to the incident that it belongs to.
type RunIncident struct {
	ID string
	// Open is the incident as it begins; nil: it is there already.
	Open *incident.Incident
	Said []incident.Change
}

// At is the run at a glance as it stands now.
func (h Run) At(r *run.Run) Run {
	h.Phase, h.Paused, h.Outcome, h.Reason = r.Phase, r.Paused, r.Outcome, r.Reason
	h.Steps, h.Settled, h.Asked = len(r.Steps), r.Settled(), r.Asked()
	h.ReviewDue, h.Noted = len(r.Glass) > 0, r.Noted()
	if r.Phase == run.Over {
		h.FinishedAt = r.Finished.UnixMilli()
	}
	return h
}

// RunnerOf says which node carries out a run.
type RunnerOf struct {
	Node string `json:"node"`
}

// StartRun asks for a run of a plan of the applied manifest.
type StartRun struct {
	Plan   string         `json:"plan"`
	Mode   plan.Mode      `json:"mode"`
	Params map[string]any `json:"params,omitempty"`
	Reason string         `json:"reason,omitempty"`
	// Tabletop starts a walk of the plan around a table: nobody needs rights for real, a window or an incident for it.
	Tabletop bool `json:"tabletop,omitempty"`
	// DisruptedAt and DetectedAt are when service was disrupted and when that was found, where it is known; neither in the future, and in
	// this order.
	DisruptedAt time.Time `json:"disruptedAt,omitzero"`
	DetectedAt  time.Time `json:"detectedAt,omitzero"`
	// Incident is the incident that it is started for, in modes takeover, emergency and switch-back. Where it says nothing of the disruption
	// itself, that of the incident counts.
	Incident string `json:"incident,omitempty"`
	// Declare says what is disrupted, in one line: the start declares the incident that it names, or opens and declares one, RUN.incident, of
	// what the plan acts on. All of it happens, or nothing.
	Declare string `json:"declare,omitempty"`
	// ID makes a repeated request the same request; the node chooses one where it is empty.
	ID string `json:"id,omitempty"`
	// DryRun says what would begin, with what the calendars say of it, and begins nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// PreflightRequest asks what can be said of a run before it is started. Parameters that are required may be missing.
type PreflightRequest struct {
	Mode   plan.Mode      `json:"mode"`
	Params map[string]any `json:"params,omitempty"`
}

// RunWord is what a person says to a run.
type RunWord struct {
	What run.What `json:"what"` // paused, resumed, retried, skipped, takenOver, cancelled, acknowledged, approved, declined, completed, delegated, addedApprover, brokeGlass, reviewed or attested
	Step string   `json:"step,omitempty"`
	Undo bool     `json:"undo,omitempty"`
	Text string   `json:"text,omitempty"`
	// For is the role or participant that an approval is given or delegated for, or that is asked too.
	For string `json:"for,omitempty"`
	// Objects, of attested: the record is not what happened, and the text says where.
	Objects bool `json:"objects,omitempty"`
	// To is the person that an approval is delegated to.
	To string `json:"to,omitempty"`
	// Result is what was filled in.
	Result map[string]any `json:"result,omitempty"`
	// Attachments are the SHA-256, in hex, of files that were handed in for the step before.
	Attachments []string `json:"attachments,omitempty"`
}

// Challenge is what somebody signs away from the platform to decide on an approval.
type Challenge struct {
	// Text is what is sent to them, PDASK:…; Asks is what it says.
	Text string           `json:"text"`
	Asks ballot.Challenge `json:"asks"`
}

// SignedWord is a decision that was signed away from the platform and is handed in by somebody else.
type SignedWord struct {
	What   run.What `json:"what" enum:"approved,declined"` // what whoever hands it in believes it to be
	Step   string   `json:"step"`
	Signed string   `json:"signed" doc:"the signed text, PDSIG:…"`
}

// KeptAttachment is a file that was handed in for a step of a run, or made by its action, as the store keeps it. It counts once the journal names it.
type KeptAttachment struct {
	run.Attachment
	Step string `json:"step"`
	By   string `json:"by"`
	At   int64  `json:"at"` // Unix milliseconds
}

// RunState is a run with how every step stands.
type RunState struct {
	Run   Run       `json:"run"`
	Steps []RunStep `json:"steps"`
	// Participants is how far everybody is who has tasks and is no role, in the order of their first task.
	Participants []ParticipantProgress `json:"participants,omitempty"`
	// Attested are who stand for its record, or object to it.
	Attested []run.Attestation `json:"attested,omitempty"`
}

// ParticipantProgress is how far a participant is with the tasks of a run, and how it is reached. Title, Type and Contacts are those of the
// applied manifest, and empty where it has no such participant.
type ParticipantProgress struct {
	Title    string                 `json:"title,omitempty"`
	Type     estate.ParticipantType `json:"type,omitempty"`
	Contacts []estate.Contact       `json:"contacts,omitempty"`
	// Duty is who is on duty where it is no participant but a duty; title, type and contacts are then those of the participant it is a duty of.
	Duty *duty.Standing `json:"duty,omitempty"`
	run.Progress
}

// RunStep is how one step stands.
type RunStep struct {
	ID       string        `json:"id"`
	Title    string        `json:"title,omitempty"`
	Kind     plan.StepKind `json:"kind"`
	Status   run.Status    `json:"status"`
	After    []string      `json:"after,omitempty"`
	Attempts int           `json:"attempts,omitempty"`
	BeganAt  int64         `json:"beganAt,omitempty"`
	EndedAt  int64         `json:"endedAt,omitempty"`
	// Text is what people are asked, filled in once they are; Owner whose task it is, Fields what its person fills in.
	Text  string `json:"text,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Wants is how many files a task wants at least, Attachments those that were handed in, or that an action made.
	Wants       int              `json:"wants,omitempty"`
	Attachments []run.Attachment `json:"attachments,omitempty"`
	Fields      []plan.Parameter `json:"fields,omitempty"`
	// Answer is what was answered to a task since it was asked the last time; nil: nothing.
	Answer *run.Answer `json:"answer,omitempty"`
	// Of are those whose approval is asked, and Need how many of them.
	Of      []string       `json:"of,omitempty"`
	Need    int            `json:"need,omitempty"`
	Error   string         `json:"error,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Outputs map[string]any `json:"outputs,omitempty"`
	Votes   []run.Vote     `json:"votes,omitempty"`
	Undo    run.Status     `json:"undo,omitempty"`
	// Delegations are voices of an approval that were given to others; Added is who is asked beside those of the plan.
	Delegations []run.Delegation `json:"delegations,omitempty"`
	Added       []string         `json:"added,omitempty"`
}

// Armed is an armed run, and how it stands now.
type Armed struct {
	measure.Armed
	State measure.ArmedState `json:"state"`
}
