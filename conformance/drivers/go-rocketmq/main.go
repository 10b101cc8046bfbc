// Drives the RocketMQ Go client by JSON lines; ../README.md says which. This file reads commands and writes answers;
// it knows nothing of messages.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	limitDefault     = 30 * time.Second
	commandBytesMax  = 64 << 20
	sdkModule        = "github.com/apache/rocketmq-client-go/v2"
	reasonNoAdmin    = "the client has no such call"
	reasonPushSettle = "a push consumer settles by what its listener returns"
)

// unsupported is a command that this SDK cannot carry out; the reason goes into the table of results.
type unsupported struct{ reason string }

func (u unsupported) Error() string { return u.reason }

// command holds the fields of all commands; each uses its own.
type command struct {
	ID          int64             `json:"id"`
	Cmd         string            `json:"cmd"`
	LimitMs     int64             `json:"limit_ms"`
	Remoting    string            `json:"remoting"`
	User        string            `json:"user"`
	Secret      string            `json:"secret"`
	TLS         string            `json:"tls"`
	Topic       string            `json:"topic"`
	Group       string            `json:"group"`
	Consumer    string            `json:"consumer"`
	Mode        string            `json:"mode"`
	From        string            `json:"from"`
	Tag         string            `json:"tag"`
	SQL         string            `json:"sql"`
	FailTimes   int               `json:"fail_times"`
	MaxAttempts int32             `json:"max_attempts"`
	Hold        bool              `json:"hold"`
	Messages    []outgoingMessage `json:"messages"`
	Run         string            `json:"run"`
	Bytes       int               `json:"bytes"`
	Window      int               `json:"window"`
	Journal     string            `json:"journal"`
	IdleMs      int64             `json:"idle_ms"`
	Body        string            `json:"body"`
	Local       string            `json:"local"`
	Check       string            `json:"check"`
	Outcome     string            `json:"outcome"`
}

type object map[string]any

var outLock sync.Mutex

func emit(line object) {
	outLock.Lock()
	defer outLock.Unlock()
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(text, '\n'))
}

func main() {
	rlog.SetLogLevel("error")
	driver := &driver{consumers: map[string]*pushConsumer{}, transactors: map[string]*transactor{}}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), commandBytesMax)
	for input.Scan() {
		var c command
		if err := json.Unmarshal(input.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "bad command:", err)
			os.Exit(2)
		}
		emit(answer(driver, &c))
	}
	driver.reset()
}

func answer(d *driver, c *command) object {
	limit := limitDefault
	if c.LimitMs > 0 {
		limit = time.Duration(c.LimitMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type outcome struct {
		ok  any
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		ok, err := d.run(ctx, c)
		done <- outcome{ok, err}
	}()
	select {
	case <-ctx.Done():
		return object{"id": c.ID, "error": fmt.Sprintf("not done within %v", limit)}
	case result := <-done:
		var cannot unsupported
		if errors.As(result.err, &cannot) {
			return object{"id": c.ID, "unsupported": cannot.reason}
		}
		if result.err != nil {
			return object{"id": c.ID, "error": result.err.Error()}
		}
		return object{"id": c.ID, "ok": result.ok}
	}
}

// driver owns what the commands made.
type driver struct {
	address string
	// Empty while nobody has logged in.
	credentials primitive.Credentials
	sender      *sender
	load        *load
	consumers   map[string]*pushConsumer
	// By group.
	transactors map[string]*transactor
}

func (d *driver) run(ctx context.Context, c *command) (any, error) {
	switch c.Cmd {
	case "hello":
		return object{"sdk": "rocketmq-client-go", "version": sdkVersion()}, nil
	case "connect":
		if c.TLS != "" {
			return nil, unsupported{"the Go client v2.1.2 has no TLS"}
		}
		d.address = c.Remoting
		d.credentials = primitive.Credentials{AccessKey: c.User, SecretKey: c.Secret}
		return object{}, nil
	case "send":
		return d.send(ctx, c)
	case "load":
		return d.startLoad(c)
	case "stop_load":
		return d.stopLoad(ctx)
	case "consume":
		return d.consume(c)
	case "drain":
		return d.drain(c)
	case "prepare", "produce", "decide":
		return d.transact(ctx, c)
	case "stop":
		return d.stopConsumer(c.Consumer)
	case "reset":
		return object{}, d.reset()
	case "settle":
		return nil, unsupported{reasonPushSettle}
	default:
		return nil, unsupported{reasonNoAdmin}
	}
}

func (d *driver) reset() error {
	var failed error
	for name := range d.consumers {
		if _, err := d.stopConsumer(name); err != nil {
			failed = err
		}
	}
	for group, transactor := range d.transactors {
		if err := transactor.sdk.Shutdown(); err != nil {
			failed = err
		}
		delete(d.transactors, group)
	}
	if d.sender != nil {
		if err := d.sender.sdk.Shutdown(); err != nil {
			failed = err
		}
		d.sender = nil
	}
	return failed
}

func sdkVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == sdkModule {
				return module.Version
			}
		}
	}
	return "unknown"
}
