package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync/atomic"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// transactor sends half messages of one group and says what becomes of them, at once, later, or when it is asked.
type transactor struct {
	sdk rocketmq.TransactionProducer
	// local is what the local transaction of the message that is being sent says; answer is what a check says, and a
	// local transaction that waits for it.
	local, answer atomic.Value
	prepared      chan struct{}
	decided       chan struct{}
}

func (d *driver) transact(ctx context.Context, c *command) (any, error) {
	t := d.transactors[c.Group]
	if t == nil {
		made, err := newTransactor(d.address, c.Group)
		if err != nil {
			return nil, err
		}
		t, d.transactors[c.Group] = made, made
	}
	switch c.Cmd {
	case "produce":
		t.answer.Store(c.Check)
		return object{}, nil
	case "decide":
		t.answer.Store(c.Outcome)
		close(t.decided)
		return object{}, nil
	default:
		return object{}, t.prepare(ctx, c)
	}
}

func newTransactor(address, group string) (*transactor, error) {
	t := &transactor{prepared: make(chan struct{}, 1), decided: make(chan struct{})}
	t.local.Store("unknown")
	t.answer.Store("unknown")
	sdk, err := rocketmq.NewTransactionProducer(
		t,
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{address})),
		producer.WithGroupName(group),
		producer.WithInstanceName(instanceName()),
		producer.WithRetry(0),
	)
	if err != nil {
		return nil, err
	}
	t.sdk = sdk
	return t, sdk.Start()
}

// prepare is done, with "wait", when the message is stored and nothing is said of it.
func (t *transactor) prepare(ctx context.Context, c *command) error {
	body, err := base64.StdEncoding.DecodeString(c.Body)
	if err != nil {
		return err
	}
	t.local.Store(c.Local)
	t.answer.Store(c.Check)
	send := func() error {
		result, err := t.sdk.SendMessageInTransaction(context.Background(), primitive.NewMessage(c.Topic, body))
		if err == nil && result.Status != primitive.SendOK {
			err = fmt.Errorf("send status %v", result.Status)
		}
		return err
	}
	if c.Local != "wait" {
		return send()
	}
	failed := make(chan error, 1)
	go func() { failed <- send() }()
	select {
	case <-t.prepared:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *transactor) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	local := t.local.Load().(string)
	if local != "wait" {
		return stateOf(local)
	}
	t.prepared <- struct{}{}
	<-t.decided
	return stateOf(t.answer.Load().(string))
}

func (t *transactor) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return stateOf(t.answer.Load().(string))
}

func stateOf(word string) primitive.LocalTransactionState {
	switch word {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}
