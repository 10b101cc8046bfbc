package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	sendTriesMax    = 5
	loadFailuresMax = 100
)

// outgoingMessage is a message as a scenario asks for it.
type outgoingMessage struct {
	Body        string            `json:"body"`
	Properties  map[string]string `json:"properties"`
	Tag         *string           `json:"tag"`
	Key         *string           `json:"key"`
	Queue       *int              `json:"queue"`
	OrderingKey *string           `json:"ordering_key"`
	Again       int               `json:"again"`
}

// sender is one started producer.
type sender struct{ sdk rocketmq.Producer }

// chooser takes the queue that a message names, else the one of its sharding key, else the next.
type chooser struct{ byKey, inTurn producer.QueueSelector }

func (s chooser) Select(m *primitive.Message, queues []*primitive.MessageQueue, last string) *primitive.MessageQueue {
	if m.Queue != nil {
		for _, queue := range queues {
			if queue.QueueId == m.Queue.QueueId {
				return queue
			}
		}
		return nil
	}
	if m.GetShardingKey() != "" {
		return s.byKey.Select(m, queues, last)
	}
	return s.inTurn.Select(m, queues, last)
}

var instances atomic.Int64

// instanceName keeps the clients of one process apart, which share connections otherwise.
func instanceName() string {
	return fmt.Sprintf("%d-%d", os.Getpid(), instances.Add(1))
}

func newSender(address string, credentials primitive.Credentials) (*sender, error) {
	sdk, err := rocketmq.NewProducer(
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{address})),
		producer.WithCredentials(credentials),
		producer.WithGroupName("conformance_producer_"+instanceName()),
		producer.WithInstanceName(instanceName()),
		// A retry by the SDK would make duplicates that no broker can be blamed for.
		producer.WithRetry(0),
		producer.WithQueueSelector(chooser{producer.NewHashQueueSelector(), producer.NewRoundRobinQueueSelector()}),
	)
	if err != nil {
		return nil, err
	}
	return &sender{sdk}, sdk.Start()
}

func (d *driver) currentSender() (*sender, error) {
	if d.sender == nil {
		made, err := newSender(d.address, d.credentials)
		if err != nil {
			return nil, err
		}
		d.sender = made
	}
	return d.sender, nil
}

func (m *outgoingMessage) build(topic string) (*primitive.Message, error) {
	body, err := base64.StdEncoding.DecodeString(m.Body)
	if err != nil {
		return nil, err
	}
	message := primitive.NewMessage(topic, body)
	for key, value := range m.Properties {
		message.WithProperty(key, value)
	}
	if m.Tag != nil {
		message.WithTag(*m.Tag)
	}
	if m.Key != nil {
		message.WithKeys([]string{*m.Key})
	}
	if m.OrderingKey != nil {
		message.WithShardingKey(*m.OrderingKey)
	}
	if m.Queue != nil {
		message.Queue = &primitive.MessageQueue{QueueId: *m.Queue}
	}
	return message, nil
}

func (d *driver) send(ctx context.Context, c *command) (any, error) {
	sender, err := d.currentSender()
	if err != nil {
		return nil, err
	}
	var messages []*primitive.Message
	for i := range c.Messages {
		message, err := c.Messages[i].build(c.Topic)
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	var results []*primitive.SendResult
	switch c.Mode {
	case "sync":
		for i, message := range messages {
			for range 1 + c.Messages[i].Again {
				result, err := sender.sendSync(ctx, message)
				if err != nil {
					return nil, err
				}
				results = append(results, result)
			}
		}
	case "async":
		results, err = sender.sendAsync(ctx, messages)
	case "oneway":
		for _, message := range messages {
			if err := sender.sdk.SendOneWay(ctx, message); err != nil {
				return nil, err
			}
		}
	case "batch":
		var result *primitive.SendResult
		if result, err = sender.sendSync(ctx, messages...); err == nil {
			results = append(results, result)
		}
	default:
		err = unsupported{"no mode " + c.Mode}
	}
	if err != nil {
		return nil, err
	}
	return receipts(results)
}

func receipts(results []*primitive.SendResult) (any, error) {
	list := []object{}
	for _, result := range results {
		if result.Status != primitive.SendOK {
			return nil, fmt.Errorf("send status %v", result.Status)
		}
		list = append(list, object{"message_id": result.MsgID, "queue": result.MessageQueue.QueueId, "offset": result.QueueOffset})
	}
	return object{"receipts": list}, nil
}

// sendSync tries again when the route could not be had in time: nothing was sent then.
func (s *sender) sendSync(ctx context.Context, messages ...*primitive.Message) (*primitive.SendResult, error) {
	for try := 1; ; try++ {
		result, err := s.sdk.SendSync(ctx, messages...)
		if err == nil || try == sendTriesMax || !strings.Contains(err.Error(), "route info not found") {
			return result, err
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func (s *sender) sendAsync(ctx context.Context, messages []*primitive.Message) ([]*primitive.SendResult, error) {
	results := make([]*primitive.SendResult, len(messages))
	errs := make([]error, len(messages))
	var waiting sync.WaitGroup
	for i, message := range messages {
		waiting.Add(1)
		err := s.sdk.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
			results[i], errs[i] = result, err
			waiting.Done()
		}, message)
		if err != nil {
			return nil, err
		}
	}
	waiting.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// load sends as fast as a window of senders allows. The client's asynchronous call panics when a connection goes, so each
// place in the window is a goroutine that sends and waits.
type load struct {
	stop        atomic.Bool
	sent        atomic.Int64
	acked       atomic.Int64
	failed      atomic.Int64
	failedInRow atomic.Int64
	done        chan struct{}
}

func (d *driver) startLoad(c *command) (any, error) {
	if d.load != nil {
		return nil, fmt.Errorf("a load is running")
	}
	journal, err := newJournal(c.Journal)
	if err != nil {
		return nil, err
	}
	sender, err := newSender(d.address, d.credentials)
	if err != nil {
		return nil, err
	}
	l := &load{done: make(chan struct{})}
	d.load = l
	var workers sync.WaitGroup
	for range c.Window {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for !l.stop.Load() && l.failedInRow.Load() < loadFailuresMax {
				l.sendOne(sender, journal, c)
			}
		}()
	}
	go func() {
		workers.Wait()
		journal.close()
		sender.sdk.Shutdown()
		close(l.done)
		emit(object{"event": "load_end", "load": l.counts()})
	}()
	return object{}, nil
}

func (l *load) counts() object {
	return object{"sent": l.sent.Load(), "acked": l.acked.Load(), "failed": l.failed.Load()}
}

func (l *load) sendOne(sender *sender, journal *journal, c *command) {
	id := fmt.Sprintf("%s-%d", c.Run, l.sent.Add(1))
	body := loadBody(id, c.Bytes)
	journal.line("S %s %s %d", id, crcOf(body), nowMs())
	result, err := sender.sdk.SendSync(context.Background(), primitive.NewMessage(c.Topic, body))
	if err == nil && result.Status == primitive.SendOK {
		journal.line("A %s disk %d %d %d", id, nowMs(), result.MessageQueue.QueueId, result.QueueOffset)
		l.failedInRow.Store(0)
		if acked := l.acked.Add(1); acked%1000 == 0 {
			emit(object{"event": "load_progress", "acked": acked})
		}
		return
	}
	if err == nil {
		err = fmt.Errorf("send status %v", result.Status)
	}
	journal.line("F %s %d %s", id, nowMs(), strings.ReplaceAll(err.Error(), "\n", " "))
	l.failed.Add(1)
	l.failedInRow.Add(1)
}

func (d *driver) stopLoad(ctx context.Context) (any, error) {
	l := d.load
	if l == nil {
		return nil, fmt.Errorf("no load is running")
	}
	d.load = nil
	l.stop.Store(true)
	select {
	case <-l.done:
		return l.counts(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
