package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

var _ driver.Archives = (*Database)(nil)

const (
	// archiveRoom is what has to stay free beside what a backup or a restore takes.
	archiveRoom = 512 << 20
	// looks is how often files are looked at anew that got other names meanwhile.
	looks = 5
	// partial is what pg_receivewal calls a file of log that it still writes.
	partial = ".partial"
)

func (d *Database) archiveDir() string { return d.o.DataDir + ".archive" }
func (d *Database) logDir() string     { return filepath.Join(d.archiveDir(), "log") }

// Archive reads what lies in the archive.
func (d *Database) Archive(ctx context.Context) (driver.Archive, error) {
	var a driver.Archive
	lists, err := filepath.Glob(filepath.Join(d.archiveDir(), "base-*.json"))
	if err != nil {
		return a, err
	}
	slices.Sort(lists)
	for _, name := range lists {
		var b driver.Backup
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err == nil {
			err = json.Unmarshal(text, &b)
		}
		if err != nil {
			return a, errs.New(errs.Unavailable, "cannot read %s: %w", name, err)
		}
		a.Backups = append(a.Backups, b)
	}
	good, ok := a.Good()
	if !ok {
		return a, nil
	}
	log, err := d.logBehind(ctx, good)
	if err != nil {
		return a, err
	}
	a.Until, a.Gap, a.LogAt = log.until, log.gap, log.at
	return a, nil
}

// chain is the log behind a backup.
type chain struct {
	files map[string]string // by name in pg_wal: where the file lies in the archive
	until estate.LSN
	gap   string
	at    time.Time
}

// logBehind collects the log from the beginning of a backup on. Each number needs a file, of whatever timeline: at a promotion the former timeline's last file stays
// unfinished, and the new one has what it held.
func (d *Database) logBehind(ctx context.Context, b driver.Backup) (chain, error) {
	for try := 1; ; try++ {
		c, err := d.lookBehind(ctx, b)
		// A file that was complete just now has lost the ending of its name.
		if !errors.Is(err, fs.ErrNotExist) || try == looks {
			return c, err
		}
	}
}

func (d *Database) lookBehind(ctx context.Context, b driver.Backup) (chain, error) {
	c := chain{files: map[string]string{}}
	base := filepath.Join(d.archiveDir(), b.Name)
	values, err := d.controlData(ctx, base)
	if err != nil {
		return c, err
	}
	bytes, err := strconv.ParseUint(values["Bytes per WAL segment"], 10, 32)
	if err != nil || bytes == 0 {
		return c, errs.New(errs.Internal, "segment size of backup %s: %q", b.Name, values["Bytes per WAL segment"])
	}
	size := segments(bytes)
	newest := map[uint64]string{}
	add := func(dir string, archived bool) error {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return errs.New(errs.Unavailable, "cannot read %s: %w", dir, err)
		}
		for _, e := range entries {
			name, path := strings.TrimSuffix(e.Name(), partial), filepath.Join(dir, e.Name())
			number, isSegment := size.number(name)
			info, err := e.Info()
			switch {
			case err != nil || !isSegment && !strings.HasSuffix(name, ".history"):
				continue
			case isSegment && (number < size.of(b.Begin) || uint64(info.Size()) != bytes): // one that is just being made holds nothing yet
				continue
			}
			if archived {
				c.files[name] = path
				if info.ModTime().After(c.at) {
					c.at = info.ModTime()
				}
			}
			if isSegment && name >= newest[number] { // what was received comes last: of the same name it is the one that goes on
				newest[number] = name
				if !archived {
					c.files[name] = path
				}
			}
		}
		return nil
	}
	if err := errors.Join(add(filepath.Join(base, "pg_wal"), false), add(d.logDir(), true)); err != nil {
		return c, err
	}
	last := size.of(b.Begin)
	for newest[last] != "" {
		last++
	}
	for number := range newest {
		if number > last {
			c.gap = size.name(b.Timeline, last)
		}
	}
	if last == size.of(b.Begin) {
		c.gap = size.name(b.Timeline, last)
		return c, nil
	}
	// The same file may be in both places: the receiver may be behind what the backup brought along.
	for name, path := range c.files {
		own := filepath.Join(base, "pg_wal", name)
		if path == own || !exists(own) || strings.HasSuffix(name, ".history") {
			continue
		}
		ours, err1 := written(path)
		theirs, err2 := written(own)
		if err := errors.Join(err1, err2); err != nil {
			return c, err
		}
		if theirs > ours {
			c.files[name] = own
		}
	}
	reach, err := written(c.files[newest[last-1]])
	c.until = estate.LSN((last-1)*bytes + reach)
	return c, err
}

// written is up to where a file of log is not empty.
func written(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, errs.New(errs.Unavailable, "cannot read %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, errs.New(errs.Unavailable, "cannot read %s: %w", path, err)
	}
	block := make([]byte, 64<<10)
	for end := info.Size(); end > 0; {
		begin := max(0, end-int64(len(block)))
		part := block[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil {
			return 0, errs.New(errs.Unavailable, "cannot read %s: %w", path, err)
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != 0 {
				return uint64(begin) + uint64(i) + 1, nil
			}
		}
		end = begin
	}
	return 0, nil
}

// archiveConninfo is how the archive's programs reach an upstream. Their password has a file of its own: the one that severing removes is never
// written here, whatever is still received while a restored copy is cut (I4).
func (d *Database) archiveConninfo(ctx context.Context, upstream driver.Upstream, of string) (string, error) {
	address, err := d.resolve(ctx, upstream)
	if err != nil {
		return "", err
	}
	d.passing.Lock() // log is received, and a backup made, at the same time
	defer d.passing.Unlock()
	file := filepath.Join(d.o.RunDir, "archive.pass")
	if err := d.writePassTo(file); err != nil {
		return "", err
	}
	return d.conninfoBy(file, upstream, address, of+string(d.o.Member)), nil
}

// Receive runs pg_receivewal. It never archives from the owner's side: an archive_command would rename files that a divergence is read from (I6).
func (d *Database) Receive(ctx context.Context, upstream driver.Upstream) error {
	conninfo, err := d.archiveConninfo(ctx, upstream, "archive-of-")
	if err != nil {
		return err
	}
	if err := errors.Join(d.makeDir(d.archiveDir()), d.makeDir(d.logDir())); err != nil {
		return err
	}
	killRunning("pg_receivewal", "--directory="+d.logDir())
	if err := d.dropUnmade(ctx, upstream); err != nil {
		return err
	}
	receiver := d.program(ctx, "pg_receivewal", "--directory="+d.logDir(), "--dbname="+conninfo,
		"--slot="+SlotOf(d.o.Member), "--synchronous", "--no-loop", "--no-password")
	out, err := receiver.CombinedOutput()
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	return errs.New(errs.Unavailable, "the log of %s is not received any more: %s (%w)", upstream.Member, complaint(string(out)), err)
}

// dropUnmade removes a file that a killed receiver was making: it holds no log yet, and the next receiver refuses its size.
func (d *Database) dropUnmade(ctx context.Context, upstream driver.Upstream) error {
	unfinished, err := filepath.Glob(filepath.Join(d.logDir(), "*"+partial))
	if err != nil || len(unfinished) == 0 {
		return err
	}
	conn, err := d.dialUpstream(ctx, upstream, false)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var size int64
	if err := conn.QueryRow(ctx, "select setting::bigint from pg_settings where name = 'wal_segment_size'").Scan(&size); err != nil {
		return failed(err, "cannot ask %s for the size of its files of log", upstream.Member)
	}
	for _, path := range unfinished {
		if info, err := os.Stat(path); err == nil && info.Size() != size {
			if err := removeFile(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// BackUp makes a base backup beside the others; its list says that it is complete.
func (d *Database) BackUp(ctx context.Context, upstream driver.Upstream, keep int, progress driver.Progress) (driver.Backup, error) {
	var b driver.Backup
	conninfo, err := d.archiveConninfo(ctx, upstream, "backup-of-")
	if err != nil {
		return b, err
	}
	if err := d.makeDir(d.archiveDir()); err != nil {
		return b, err
	}
	before, err := d.Archive(ctx)
	if err != nil {
		return b, err
	}
	if good, ok := before.Good(); ok {
		if free, need := d.free(), uint64(good.Bytes+good.Bytes/8+archiveRoom); free < need {
			return b, errs.New(errs.Refused, "no room for a backup of %s: %d MB are free at %s, %d MB are needed", upstream.Member, free>>20, filepath.Dir(d.o.DataDir), need>>20)
		}
	}
	fresh := filepath.Join(d.archiveDir(), "new")
	killRunning("pg_basebackup", "--pgdata="+fresh)
	if err := d.discard(fresh); err != nil {
		return b, err
	}
	if err := d.makeDir(fresh); err != nil {
		return b, err
	}
	b = driver.Backup{At: time.Now().UTC()}
	b.Name = "base-" + b.At.Format("20060102T150405.000")
	backup := d.program(ctx, "pg_basebackup", "--pgdata="+fresh, "--dbname="+conninfo,
		"--wal-method=stream", "--checkpoint=fast", "--progress", "--no-password")
	if said, err := backup.withProgress("backing "+string(upstream.Member)+" up", progress); err != nil {
		_ = os.RemoveAll(fresh) // it may be the disk that is full
		return b, errs.New(errs.Unavailable, "cannot back %s up: %s (%w)", upstream.Member, complaint(said), err)
	}
	if err := d.verify(ctx, fresh, &b); err != nil {
		return b, err
	}
	if b.Problem != "" {
		return b, errs.New(errs.Unavailable, "the backup of %s is not what was copied: %s", upstream.Member, b.Problem)
	}
	if err := readRange(fresh, &b); err != nil {
		return b, err
	}
	if b.Bytes, err = bytesOf(fresh); err != nil {
		return b, err
	}
	if err := os.Rename(fresh, filepath.Join(d.archiveDir(), b.Name)); err != nil {
		return b, errs.New(errs.Unavailable, "cannot keep the backup of %s: %w", upstream.Member, err)
	}
	if err := errors.Join(syncDir(d.archiveDir()), d.list(b)); err != nil {
		return b, err
	}
	return b, d.retire(ctx, keep)
}

func (d *Database) list(b driver.Backup) error {
	text, err := json.Marshal(b)
	if err != nil {
		return errs.New(errs.Internal, "backup %s: %w", b.Name, err)
	}
	return d.writeFile(filepath.Join(d.archiveDir(), b.Name+".json"), string(text)+"\n", true)
}

// verify compares the files of a backup with its list of checksums, and notes what is wrong. What could not be found out is an error.
func (d *Database) verify(ctx context.Context, dir string, b *driver.Backup) error {
	out, err := d.program(ctx, "pg_verifybackup", "--quiet", dir).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return errs.New(errs.Unavailable, "checking backup %s was cut short: %w", b.Name, ctx.Err())
	case err != nil && (!errors.As(err, &exit) || !exit.Exited()):
		return errs.New(errs.Unavailable, "cannot check backup %s: %w", b.Name, err)
	}
	b.Checked, b.Problem = time.Now().UTC(), ""
	if err != nil {
		b.Problem = complaint(string(out))
	}
	return nil
}

// readRange reads from the list of checksums which log the backup needs.
func readRange(dir string, b *driver.Backup) error {
	var list struct {
		Ranges []struct {
			Timeline uint32 `json:"Timeline"`
			Start    string `json:"Start-LSN"`
			End      string `json:"End-LSN"`
		} `json:"WAL-Ranges"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "backup_manifest"))
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || len(list.Ranges) == 0 {
		return errs.New(errs.Unavailable, "cannot read which log backup %s needs: %w", b.Name, err)
	}
	for i, r := range list.Ranges {
		begin, err1 := estate.ParseLSN(r.Start)
		end, err2 := estate.ParseLSN(r.End)
		if err := errors.Join(err1, err2); err != nil {
			return errs.New(errs.Unavailable, "cannot read which log backup %s needs: %w", b.Name, err)
		}
		if i == 0 || begin < b.Begin {
			b.Begin = begin
		}
		if end > b.End {
			b.End, b.Timeline = end, r.Timeline
		}
	}
	return nil
}

// retire removes backups beyond the newest good ones, and log that none of those needs. The last good one always stays, with its log.
func (d *Database) retire(ctx context.Context, keep int) error {
	a, err := d.Archive(ctx)
	if err != nil {
		return err
	}
	good := 0
	var oldest driver.Backup
	for _, b := range slices.Backward(a.Backups) {
		if b.Problem == "" && good < max(keep, 1) {
			good++
			oldest = b
			continue
		}
		if good == 0 {
			continue // a damaged one is all that there is
		}
		// The list goes first: without it there is no backup, whatever is left of its files.
		dir := filepath.Join(d.archiveDir(), b.Name)
		if err := removeFile(dir + ".json"); err != nil {
			return err
		}
		if err := d.discard(dir); err != nil {
			return err
		}
	}
	if err := d.dropUnlisted(); err != nil || good == 0 {
		return err
	}
	needed, err := d.firstOf(ctx, oldest)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(d.logDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.Unavailable, "cannot read %s: %w", d.logDir(), err)
	}
	for _, e := range entries {
		// Files are compared without their timelines; those that are still written, and histories, stay.
		if name := e.Name(); len(name) == len(needed) && name[8:] < needed[8:] {
			if err := removeFile(filepath.Join(d.logDir(), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropUnlisted removes what a killed agent left of backups that have no list.
func (d *Database) dropUnlisted() error {
	dirs, err := filepath.Glob(filepath.Join(d.archiveDir(), "base-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !strings.HasSuffix(dir, ".json") && !exists(dir+".json") {
			if err := d.discard(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstOf names the first file of log that a backup needs.
func (d *Database) firstOf(ctx context.Context, b driver.Backup) (string, error) {
	values, err := d.controlData(ctx, filepath.Join(d.archiveDir(), b.Name))
	if err != nil {
		return "", err
	}
	size, err := strconv.ParseUint(values["Bytes per WAL segment"], 10, 32)
	if err != nil || size == 0 {
		return "", errs.New(errs.Internal, "segment size of backup %s: %q", b.Name, values["Bytes per WAL segment"])
	}
	return segments(size).name(b.Timeline, segments(size).of(b.Begin)), nil
}

// Restore makes the copy beside the empty directory and gives it the directory's name when it is complete; one that was cut short is thrown
// away and made anew, and what the archive holds is only read.
func (d *Database) Restore(ctx context.Context, progress driver.Progress) error {
	done, err := d.begin(ctx, "restore")
	if err != nil {
		return err
	}
	defer done()
	switch d.directory() {
	case driver.Standby:
		return nil
	case driver.Primary:
		return errs.Refuse("I6", "cannot restore %s: its directory was an owner's", d.o.Member)
	case driver.Empty:
	}
	a, err := d.Archive(ctx)
	if err != nil {
		return err
	}
	var why []string
	for _, b := range slices.Backward(a.Backups) {
		dir := filepath.Join(d.archiveDir(), b.Name)
		if progress != nil {
			progress("checking backup "+b.Name, 0, b.Bytes)
		}
		if err := d.verify(ctx, dir, &b); err != nil {
			return err
		}
		if err := d.list(b); err != nil {
			return err
		}
		if b.Problem != "" {
			why = append(why, b.Name+" is damaged: "+b.Problem)
			continue
		}
		log, err := d.logBehind(ctx, b)
		if err != nil {
			return err
		}
		if log.gap != "" {
			why = append(why, b.Name+" lacks log file "+log.gap)
			continue
		}
		if progress != nil {
			progress("restoring backup "+b.Name, 0, b.Bytes)
		}
		return d.restoreFrom(ctx, b, log)
	}
	if len(why) == 0 {
		why = []string{"there is none"}
	}
	return errs.New(errs.Refused, "cannot restore %s: no backup can be used: %s", d.o.Member, strings.Join(why, "; "))
}

func (d *Database) restoreFrom(ctx context.Context, b driver.Backup, log chain) error {
	if free, need := d.free(), uint64(b.Bytes+b.Bytes/8+archiveRoom); free < need {
		return errs.New(errs.Refused, "no room to restore %s: %d MB are free at %s, %d MB are needed", d.o.Member, free>>20, filepath.Dir(d.o.DataDir), need>>20)
	}
	if err := d.configure(); err != nil {
		return err
	}
	fresh := d.o.DataDir + ".new"
	if err := d.discard(fresh); err != nil {
		return err
	}
	if err := d.makeDir(fresh); err != nil {
		return err
	}
	if err := d.copyTree(ctx, filepath.Join(d.archiveDir(), b.Name), fresh); err != nil {
		return err
	}
	for name, path := range log.files {
		if err := ctx.Err(); err != nil {
			return errs.New(errs.Unavailable, "restoring %s was cut short: %w", d.o.Member, err)
		}
		if !exists(path) { // it was complete meanwhile
			path = strings.TrimSuffix(path, partial)
		}
		if err := d.copyFile(path, filepath.Join(fresh, "pg_wal", name)); err != nil {
			return err
		}
	}
	// It follows nobody: whom it follows, if anybody, the record says (I4).
	if err := d.adoptCopy(fresh, steering{}); err != nil {
		return err
	}
	if err := syncAll(fresh); err != nil {
		return err
	}
	return d.swapIn(fresh)
}

// copyTree copies a directory with everything in it, as the server's user.
func (d *Database) copyTree(ctx context.Context, from, to string) error {
	c := exec.CommandContext(ctx, "cp", "--archive", "--reflink=auto", from+"/.", to)
	c.Dir = "/"
	c.Env = d.environment()
	c.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred, Setsid: true, Pdeathsig: syscall.SIGKILL}
	if out, err := (&program{c}).CombinedOutput(); err != nil {
		return errs.New(errs.Unavailable, "cannot copy %s: %s (%w)", from, complaint(string(out)), err)
	}
	return nil
}

// syncAll brings the file system of a directory onto the disk.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot sync %s: %w", dir, err)
	}
	return nil
}
