package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	// archiveTick is how often an archive is looked at.
	archiveTick = 2 * time.Second
	// archivePause is between two attempts at receiving log, or at a base backup.
	archivePause = time.Second
	backupPause  = 10 * time.Second
	// backupBound is the longest a base backup may take.
	backupBound = 24 * time.Hour
	// archiveLate is after how many periods without a good backup that is a finding.
	archiveLate = 2
)

// archiveWork is what a cold member keeps, and what people want of it. The agent's lock guards it.
type archiveWork struct {
	wanted   bool   // people want it restored
	attempt  string // of whoever asked last
	err      error  // why that attempt came to nothing
	findings []driver.Finding
	failing  string // why no log is received, empty while it is
	since    time.Time
}

// cold gives whom the archive is kept from, where this member is cold now: the same members as an asynchronous copy would follow, so that it is
// never ahead of the in-sync set (I12).
func (a *Agent) cold() (up driver.Upstream, backup unit.Backup, ok bool) {
	a.mu.Lock()
	rec, seen, known := a.group.Record, a.seen, a.known && a.track.Looked()
	a.mu.Unlock()
	m, is := rec.Member(a.opts.Member)
	if !known || !is || !m.Cold() || seen.Directory != driver.Empty || rec.Owner.Member == a.opts.Member {
		return up, m.Backup, false
	}
	from, has := unit.Upstream(rec, a.opts.Member)
	if !has {
		return up, m.Backup, false
	}
	up, err := a.upstream(rec, from)
	return up, m.Backup, err == nil
}

// keepArchive receives log and makes base backups for as long as this member is cold.
func (a *Agent) keepArchive(ctx context.Context) error {
	if a.opts.Archives == nil {
		return nil
	}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { a.keepBackups(ctx) })
	for sleep(ctx, archivePause) {
		up, _, ok := a.cold()
		if !ok {
			continue
		}
		a.receive(ctx, up)
	}
	return nil
}

// receive receives log until it fails, or comes from elsewhere now, or the member is not cold any more.
func (a *Agent) receive(ctx context.Context, up driver.Upstream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.opts.Archives.Receive(ctx, up) }()
	tick := time.NewTicker(archiveTick)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				a.receiving(err.Error())
			}
			return
		case <-tick.C:
			a.receiving("")
			now, _, ok := a.cold()
			a.mu.Lock()
			closed := a.group.Record.State != unit.Open
			a.mu.Unlock()
			// While nobody is open there is no other source: what the former one still sends is kept, up to the restore.
			if !ok && (!closed || a.gone()) || ok && now != up {
				cancel()
				<-ended
				return
			}
		}
	}
}

// gone reports whether the directory is no longer empty.
func (a *Agent) gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen.Directory != driver.Empty
}

func (a *Agent) receiving(failing string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failing != "" && a.archive.failing != failing {
		a.log.Warn("no log is archived", "why", failing)
	}
	if failing != "" && a.archive.failing == "" {
		a.archive.since = time.Now()
	}
	a.archive.failing = failing
}

// keepBackups makes a base backup when one is due, and says what is wrong with the archive.
func (a *Agent) keepBackups(ctx context.Context) {
	var tried time.Time
	for sleep(ctx, archiveTick) {
		up, backup, ok := a.cold()
		if backup.Every == 0 || a.gone() {
			a.findArchive(nil)
			continue
		}
		archive, err := a.opts.Archives.Archive(ctx)
		if err != nil {
			a.log.Warn("the archive cannot be read", "err", err)
			a.findArchive([]driver.Finding{archiveFinding(err.Error(), "look at the agent's log")})
			continue
		}
		a.findArchive(a.judgeArchive(archive, backup, time.Now()))
		good, has := archive.Good()
		due := !has || archive.Gap != "" || time.Since(good.At) >= backup.Every
		if !ok || !due || time.Since(tried) < backupPause {
			continue
		}
		began := time.Now()
		bounded, cancel := context.WithTimeout(ctx, backupBound)
		made, err := a.opts.Archives.BackUp(bounded, up, backup.Keep, nil)
		cancel()
		if err != nil {
			tried = time.Now()
			if ctx.Err() == nil {
				a.log.Warn("no base backup", "from", up.Member, "err", err, "took", time.Since(began))
			}
			continue
		}
		a.log.Info("base backup made and checked", "from", up.Member, "backup", made.Name, "bytes", made.Bytes, "took", time.Since(began))
	}
}

func archiveFinding(problem, fix string) driver.Finding {
	return driver.Finding{Check: "archive", Problem: problem, Fix: fix}
}

// judgeArchive says what is wrong with what is kept.
func (a *Agent) judgeArchive(archive driver.Archive, backup unit.Backup, now time.Time) []driver.Finding {
	var found []driver.Finding
	good, has := archive.Good()
	switch {
	case !has:
		found = append(found, archiveFinding("there is no good base backup", "wait for the first one, or look at the agent's log why there is none"))
	case now.Sub(good.At) > archiveLate*backup.Every:
		found = append(found, archiveFinding(fmt.Sprintf("the newest good base backup is of %s", good.At.Format(time.RFC3339)), "look at the agent's log why there is no newer one"))
	}
	if archive.Gap != "" {
		found = append(found, archiveFinding("log file "+archive.Gap+" is missing behind the newest good backup", "the next base backup begins behind it"))
	}
	for _, b := range archive.Backups {
		if b.Problem != "" {
			found = append(found, archiveFinding(b.Name+" is damaged and is not used: "+b.Problem, "look at the disk; it is removed after the next good backup"))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.archive.failing != "" && now.Sub(a.archive.since) > archiveTick {
		found = append(found, archiveFinding("no log has been received since "+a.archive.since.Format(time.RFC3339)+": "+a.archive.failing, "see that the upstream runs and can be reached"))
	}
	return found
}

func (a *Agent) findArchive(found []driver.Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.archive.findings = found
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// askArchive says what is kept, and takes note that people want it restored. The acting goroutine does it, as everything that changes the
// directory (I15).
func (a *Agent) askArchive(ctx context.Context, body []byte) (any, error) {
	var ask wire.ArchiveRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, errs.New(errs.Invalid, "request for an archive: %w", err)
	}
	a.mu.Lock()
	m, _ := a.group.Record.Member(a.opts.Member)
	a.mu.Unlock()
	switch {
	case a.opts.Archives == nil:
		return nil, errs.New(errs.Invalid, "%s has a driver that keeps no archive", a.opts.Member)
	case ask.Group != a.opts.Group:
		return nil, errs.New(errs.Invalid, "%s is no member of %s", a.opts.Member, ask.Group)
	case !m.Cold():
		return nil, errs.New(errs.Invalid, "%s is not cold: the manifest gives it no backup", a.opts.Member)
	}
	archive, err := a.opts.Archives.Archive(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.archive
	answer := wire.ArchiveAnswer{
		Archive:  archive,
		Restored: a.seen.Directory == driver.Standby && a.seen.Running && a.seen.Answering && m.Life == a.self.Life,
	}
	if !ask.Restore || answer.Restored {
		return answer, nil
	}
	if w.attempt != ask.Attempt {
		w.attempt, w.wanted, w.err = ask.Attempt, true, nil
		a.poke()
	}
	if w.err != nil {
		answer.Error, answer.Kind = w.err.Error(), string(errs.KindOf(w.err))
	}
	return answer, nil
}

// restore makes the archive a copy. What was refused is not tried again before somebody asks anew.
func (a *Agent) restore(ctx context.Context, rec unit.Record) error {
	if a.opts.Archives == nil {
		return errs.New(errs.Invalid, "%s has a driver that keeps no archive", a.opts.Member)
	}
	// Before there is a directory: no life before the next one was on it, whatever becomes of this agent meanwhile.
	if err := a.madeAnew(rec); err != nil {
		return err
	}
	err := a.opts.Archives.Restore(ctx, a.progress)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || errs.KindOf(err) == errs.Refused {
		a.archive.wanted, a.archive.err = false, err
	}
	return err
}
