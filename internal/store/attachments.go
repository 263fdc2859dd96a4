package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Bounds of what is attached to one step, to one run and to all of them, in bytes: who answers one task leaves room for the others. The control
// store holds 2 GiB by default, and everything else lies there too.
const (
	mostAttachedToStep = 16 << 20
	mostAttachedToRun  = 128 << 20
	mostAttached       = 256 << 20
	attachedPart       = 512 << 10
)

// attachTries is how often a file is counted anew after another one came between.
const attachTries = 16

// storedAttachment is a file as it is kept. It is counted before its bytes are written, so that what was left half done is counted too; whole says
// that all of them are there.
type storedAttachment struct {
	wire.KeptAttachment
	Parts int  `json:"parts"`
	Whole bool `json:"whole,omitempty"`
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checkDigest(sum string) error {
	if !digest.MatchString(sum) {
		return errs.New(errs.Invalid, "%q is no SHA-256 in hex", sum)
	}
	return nil
}

// attachedAt is where it is noted that a file was handed in for a step of a run. Its bytes are kept once in the run, for however many steps.
func attachedAt(id string, a wire.KeptAttachment) string {
	return attachedPrefix + id + "/" + a.SHA256 + "/" + url.PathEscape(a.Step)
}

// PutAttachment keeps a file that was handed in for a step of a run, once for each step. Errors: refused where there is no room.
func (s *Store) PutAttachment(ctx context.Context, id string, a wire.KeptAttachment, data []byte) (wire.KeptAttachment, error) {
	if err := s.o.MayAct(); err != nil {
		return a, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.SHA256 || len(data) != a.Size || a.Size == 0 || a.Size > run.MostAttachment {
		return a, errs.New(errs.Internal, "file %s cannot be kept: its bytes are not what is said of them", a.Name)
	}
	if _, err := s.Run(ctx, id, wire.Fresh); err != nil {
		return a, err
	}
	a.At = s.now()
	kept, revision, err := s.countAttachment(ctx, id, storedAttachment{KeptAttachment: a, Parts: (len(data) + attachedPart - 1) / attachedPart})
	if err != nil || kept.Whole {
		return kept.KeptAttachment, err
	}
	for n := range kept.Parts {
		part := data[n*attachedPart : min((n+1)*attachedPart, len(data))]
		write := clientv3.OpPut(fmt.Sprintf("%s%s%s/%s/%04d", Root, attachedParts, id, a.SHA256, n), string(part))
		if _, _, err := s.commit(ctx, "keep file "+a.Name, nil, []clientv3.Op{write}); err != nil {
			return a, err
		}
	}
	kept.Whole = true
	write, err := put(attachedAt(id, a), kept)
	if err != nil {
		return a, err
	}
	event, err := s.event(revision, wire.Event{Who: handedInBy(a.By), What: "run.attached", Subject: id}, kept.KeptAttachment)
	if err != nil {
		return a, err
	}
	// Who else has written the same bytes meanwhile has made it whole: that is as good.
	_, _, err = s.commit(ctx, "keep file "+a.Name, []clientv3.Cmp{unchanged(attachedAt(id, a), revision)}, []clientv3.Op{write, event})
	return kept.KeptAttachment, err
}

// handedInBy is who has handed in a file: a person, or the node whose driver made it.
func handedInBy(by string) string {
	if strings.HasPrefix(by, "node:") {
		return by
	}
	return "person:" + by
}

// countAttachment notes that a file is to be kept, within the bounds, and gives what is noted of it. One that is noted already is not counted again.
func (s *Store) countAttachment(ctx context.Context, id string, a storedAttachment) (storedAttachment, int64, error) {
	for range attachTries {
		e, _, err := s.get(ctx, attachedAt(id, a.KeptAttachment), wire.Fresh)
		if err != nil {
			return a, 0, err
		}
		if e.modified != 0 {
			kept, err := decode[storedAttachment](e)
			return kept, e.modified, err
		}
		of, err := listOf[storedAttachment](ctx, s, attachedPrefix+id+"/", wire.Fresh)
		if err != nil {
			return a, 0, err
		}
		inStep, inRun := a.Size, a.Size
		for _, other := range of {
			inRun += other.Size
			if other.Step == a.Step {
				inStep += other.Size
			}
		}
		counted, _, err := s.get(ctx, attachedKey, wire.Fresh)
		if err != nil {
			return a, 0, err
		}
		total := 0
		if counted.modified != 0 {
			if total, err = decode[int](counted); err != nil {
				return a, 0, err
			}
		}
		total += a.Size
		switch {
		case inStep > mostAttachedToStep:
			return a, 0, errs.New(errs.Refused, "file %s cannot be kept: %d MiB are the most that is handed in for one task", a.Name, mostAttachedToStep>>20)
		case inRun > mostAttachedToRun:
			return a, 0, errs.New(errs.Refused, "file %s cannot be kept: %d MiB are the most that is attached to one run", a.Name, mostAttachedToRun>>20)
		case total > mostAttached:
			return a, 0, errs.New(errs.Refused, "file %s cannot be kept: %d MiB are the most that is attached to all runs; hand it in another way, and write down where", a.Name, mostAttached>>20)
		}
		head, err := put(attachedAt(id, a.KeptAttachment), a)
		if err != nil {
			return a, 0, err
		}
		sum, err := put(attachedKey, total)
		if err != nil {
			return a, 0, err
		}
		conditions := []clientv3.Cmp{unchanged(attachedAt(id, a.KeptAttachment), 0), unchanged(attachedKey, counted.modified)}
		revision, ok, err := s.commit(ctx, "keep file "+a.Name, conditions, []clientv3.Op{head, sum})
		if err != nil || ok {
			return a, revision, err
		}
	}
	return a, 0, errs.New(errs.Conflict, "file %s cannot be kept now: too many others come between; try again", a.Name)
}

// Attachments reads what is noted of a file of a run: of each step that it was handed in for. One whose bytes are not all there is left out; not
// found: none is there.
func (s *Store) Attachments(ctx context.Context, id, sum string) ([]wire.KeptAttachment, error) {
	kept, err := s.attachments(ctx, id, sum)
	var out []wire.KeptAttachment
	for _, a := range kept {
		out = append(out, a.KeptAttachment)
	}
	return out, err
}

func (s *Store) attachments(ctx context.Context, id, sum string) ([]storedAttachment, error) {
	if err := checkName("run", id); err != nil {
		return nil, err
	}
	if err := checkDigest(sum); err != nil {
		return nil, err
	}
	kept, err := listOf[storedAttachment](ctx, s, attachedPrefix+id+"/"+sum+"/", wire.Fresh)
	if err != nil {
		return nil, err
	}
	kept = slices.DeleteFunc(kept, func(a storedAttachment) bool { return !a.Whole })
	if len(kept) == 0 {
		return nil, errs.New(errs.NotFound, "run %s has no file of SHA-256 %s; hand it in first", id, sum)
	}
	return kept, nil
}

// AttachmentData reads the bytes of a file of a run. They are held against their digest.
func (s *Store) AttachmentData(ctx context.Context, id, sum string) ([]byte, error) {
	kept, err := s.attachments(ctx, id, sum)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	for n := range kept[0].Parts { // a message of the store takes few of them at once
		e, _, err := s.get(ctx, fmt.Sprintf("%s%s/%s/%04d", attachedParts, id, sum, n), wire.Fresh)
		if err != nil {
			return nil, err
		}
		data.Write(e.value)
	}
	if got := sha256.Sum256(data.Bytes()); hex.EncodeToString(got[:]) != sum {
		return nil, errs.New(errs.Internal, "file %s of run %s is not what was handed in: its SHA-256 is another one", kept[0].Name, id)
	}
	return data.Bytes(), nil
}
