package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/link"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
)

// Estate that is kept running: a process of its own (Serve) looks after it and listens on a socket in the lab's folder.
const (
	controlSocket = "control"
	serveLog      = "up.log"
)

// endPatience is how long a lab that was told to end is waited for before it is ended from outside.
const endPatience = 15 * time.Second

// Up starts an estate that goes on after the call: another process, started by launch, serves it. It returns when the estate is ready.
func Up(ctx context.Context, o Options, launch func(log *os.File) *exec.Cmd) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := clean(o.Dir); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(o.Dir, serveLog))
	if err != nil {
		return errs.New(errs.Unavailable, "cannot start the lab: %w", err)
	}
	defer log.Close()
	cmd := launch(log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errs.New(errs.Unavailable, "cannot start the lab: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	shown := int64(0)
	for {
		shown += follow(log.Name(), shown, o.Out)
		select {
		case <-ended:
			follow(log.Name(), shown, o.Out)
			return errs.New(errs.Unavailable, "the lab did not come up; see %s", log.Name())
		case <-ctx.Done():
			// It may not have written down yet that it is there, so it is asked to end itself first.
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(endPatience):
			}
			_, err := Down(context.WithoutCancel(ctx), o.Dir)
			if err == nil {
				err = context.Cause(ctx)
			}
			return err
		case <-tick.C:
		}
		if _, err := ask(ctx, o.Dir, "status", ""); err == nil {
			follow(log.Name(), shown, o.Out)
			return nil
		}
	}
}

// follow copies what was added to a file since the offset.
func follow(path string, from int64, to io.Writer) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0
	}
	n, _ := io.Copy(to, f)
	return n
}

// Serve runs an estate until ctx ends, with load where rate is above 0, and listens for Status and Tell.
func Serve(ctx context.Context, name string, rate int, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := ours(o.Dir); err != nil {
		return err
	}
	if err := claim(o.Dir); err != nil {
		return err
	}
	l := &Lab{o: o, accounts: []int{defaultAccounts}}
	l.out = story.NewProgress(o.Out, false, o.Width, l.live)
	defer l.out.Close()
	text := fmt.Sprintf("estate %s\nstart\n", name)
	if rate > 0 {
		text += fmt.Sprintf("load rate %d\n", rate)
	}
	s, err := story.Parse("up", []byte(text))
	if err != nil {
		return err
	}
	defer func() {
		if l.running != nil {
			l.running.close()
		}
	}()
	if err := story.Run(ctx, s, l, l.out); err != nil {
		return err
	}
	return l.control(ctx)
}

// control answers on the socket until ctx ends. One request is carried out at a time.
func (l *Lab) control(ctx context.Context) error {
	path := filepath.Join(l.o.Dir, controlSocket)
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errs.New(errs.Unavailable, "cannot guard %s: %w", path, err)
	}
	var turn sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("POST /status", func(w http.ResponseWriter, _ *http.Request) {
		turn.Lock()
		defer turn.Unlock()
		_ = json.NewEncoder(w).Encode(l.status())
	})
	mux.HandleFunc("POST /tell", func(w http.ResponseWriter, q *http.Request) {
		turn.Lock()
		defer turn.Unlock()
		text, err := io.ReadAll(io.LimitReader(q.Body, 64<<10))
		if err == nil {
			err = l.tell(q.Context(), string(text), w)
		}
		if err != nil {
			fmt.Fprintf(w, "error: %v\n", err)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	l.out.Say("the lab is up")
	select {
	case <-ctx.Done():
		_ = server.Close()
		<-done
		return nil
	case err := <-done:
		return errs.New(errs.Unavailable, "the lab's socket: %w", err)
	}
}

// statements reads statements for an estate that runs, with load on it or without.
func statements(text string, loaded bool) (story.Story, error) {
	// The parser wants to see what came before.
	before := []string{"estate two-city", "start"}
	if loaded {
		before = append(before, "load rate 1")
	}
	s, err := story.Parse("statement", []byte(strings.Join(before, "\n")+"\n"+text))
	if err != nil {
		return s, errs.New(errs.Invalid, "%s", strings.ReplaceAll(err.Error(), fmt.Sprintf("statement:%d: ", len(before)+1), ""))
	}
	s.Statements = s.Statements[len(before):]
	return s, nil
}

// tell carries out statements of a story on the running estate.
func (l *Lab) tell(ctx context.Context, text string, w io.Writer) error {
	_, loaded := l.running.snapshot()
	s, err := statements(text, loaded)
	if err != nil {
		return err
	}
	out := story.NewProgress(w, false, 80, l.live)
	old := l.out
	l.out = out
	defer func() {
		l.out = old
		out.Close()
	}()
	return story.Run(ctx, s, l, out)
}

// Status is what runs in a lab.
type Status struct {
	Estate    string        `json:"estate"`
	Processes []proc.Status `json:"processes"`
	Links     []link.Status `json:"links"`
	// Faults are those that last, in words; Load is the load's figures, "" without.
	Faults []string `json:"faults"`
	Load   string   `json:"load,omitempty"`
	// Login says how people reach the estate.
	Login Login `json:"login"`
}

// Login is how people reach an estate.
type Login struct {
	Nodes    []string          `json:"nodes"`
	Gateways []string          `json:"gateways"`
	Context  string            `json:"context"` // for the command line's --context
	Tokens   map[string]string `json:"tokens"`  // files, by person
	Hosts    string            `json:"hosts"`
}

func (l *Lab) status() Status {
	r := l.running
	s := Status{Estate: r.name, Processes: r.sup.Status(), Links: r.net.Status(), Load: r.figures()}
	r.faultMu.Lock()
	for _, b := range r.faults {
		s.Faults = append(s.Faults, b.event.What+" "+strings.Join(b.targets, ", "))
	}
	r.faultMu.Unlock()
	s.Login = Login{Context: r.layout.OperatorFile(), Tokens: map[string]string{}, Hosts: filepath.Join(l.o.Dir, "hosts")}
	view := r.layout.Hosts(0)
	byAddress := func(url string) string {
		for host, address := range view {
			url = strings.Replace(url, "//"+host+":", "//"+address+":", 1)
		}
		return url
	}
	for _, p := range r.layout.Of(site.Node) {
		s.Login.Nodes = append(s.Login.Nodes, byAddress(p.NodeURL()))
	}
	for _, p := range r.layout.Of(site.Gateway) {
		s.Login.Gateways = append(s.Login.Gateways, byAddress(p.TrafficURL()))
	}
	for person := range personRoles {
		s.Login.Tokens[person] = r.layout.TokenFile(person)
	}
	return s
}

// StatusOf asks a lab that is kept running how it is.
func StatusOf(ctx context.Context, dir string) (Status, error) {
	var s Status
	body, err := ask(ctx, dir, "status", "")
	if err != nil {
		return s, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return s, errs.New(errs.Internal, "the lab's answer cannot be read: %w", err)
	}
	return s, nil
}

// Tell has a lab that is kept running carry out statements, and copies what it says to out.
func Tell(ctx context.Context, dir, text string, out io.Writer) error {
	body, err := ask(ctx, dir, "tell", text)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if problem, ok := strings.CutPrefix(lines.Text(), "error: "); ok {
			return errs.New(errs.Refused, "%s", problem)
		}
		fmt.Fprintln(out, lines.Text())
	}
	return lines.Err()
}

func ask(ctx context.Context, dir, what, text string) (io.ReadCloser, error) {
	path := filepath.Join(dir, controlSocket)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/"+what, strings.NewReader(text))
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot ask the lab: %w", err)
	}
	answer, err := c.Do(request)
	if err != nil {
		return nil, noLab(dir, err)
	}
	return answer.Body, nil
}

// noLab says why a lab could not be asked.
func noLab(dir string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return errs.New(errs.Unavailable, "no lab is up in %s; `perdure lab up` starts one", dir)
	}
	return errs.New(errs.Unavailable, "the lab in %s does not answer: %w; `perdure lab down` ends it", dir, err)
}

// Down ends the lab in the folder, however it was started and whatever became of it. Results and logs stay in the folder.
// It gives how many processes had to be ended from here.
func Down(ctx context.Context, dir string) (int, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, errs.New(errs.Invalid, "cannot find the lab's folder: %w", err)
	}
	if err := ours(dir); err != nil {
		return 0, err
	}
	ended, err := proc.Down(ctx, dir, nil)
	if err != nil {
		return ended, err
	}
	if err := removeOutside(dir); err != nil {
		return ended, err
	}
	return ended, removeLayout(dir)
}

// removeLayout takes away what belongs to one estate alone: databases, secrets, configurations. Results and logs stay.
func removeLayout(dir string) error {
	for _, pattern := range []string{
		"data", "people", "processes", "operator.yaml", "manifest.yaml", "hosts", "ca.crt", "ca.key", "app.password", "replication-*.secret", "accounts-*.sql",
		"*/hosts", controlSocket, outsideNote,
	} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return errs.New(errs.Internal, "cannot remove what the lab left: %w", err)
		}
		for _, left := range found {
			if filepath.Base(left) == "hosts" && filepath.Dir(left) != dir {
				left = filepath.Dir(left) // a site's folder
			}
			if err := os.RemoveAll(left); err != nil {
				return errs.New(errs.Unavailable, "cannot remove what the lab left: %w", err)
			}
		}
	}
	return nil
}
