import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Sends single messages, batches, and a journaled load. */
final class Producing {
    static final String SDK = "rocketmq-client (Java)";
    private static final int SEND_TIMEOUT_MS = 10_000;
    private static final int FIRST_SEND_TRIES_MAX = 5;
    /** So many failures in a row mean that the broker is gone. */
    private static final int LOAD_FAILURES_MAX = 100;

    private DefaultMQProducer producer;
    private final Transacting transacting = new Transacting();
    private Load load;

    static String sdkVersion() {
        return MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION);
    }

    Object send(JsonObject command) throws Exception {
        String topic = command.get("topic").getAsString();
        List<Message> messages = new ArrayList<>();
        List<JsonObject> wanted = new ArrayList<>();
        for (JsonElement element : command.getAsJsonArray("messages")) {
            wanted.add(element.getAsJsonObject());
            messages.add(message(topic, element.getAsJsonObject()));
        }
        List<SendResult> results = new ArrayList<>();
        switch (command.get("mode").getAsString()) {
            case "sync":
                for (int i = 0; i < messages.size(); i++) {
                    int again = wanted.get(i).has("again") ? wanted.get(i).get("again").getAsInt() : 0;
                    for (int time = 0; time <= again; time++) {
                        results.add(sendSync(messages.get(i), wanted.get(i)));
                    }
                }
                break;
            case "async":
                results.addAll(sendAsync(messages, wanted));
                break;
            case "oneway":
                for (int i = 0; i < messages.size(); i++) {
                    sendOneway(messages.get(i), wanted.get(i));
                }
                break;
            case "batch":
                results.add(sendBatch(topic, messages, wanted.get(0)));
                break;
            default:
                throw new Driver.Unsupported("no mode " + command.get("mode"));
        }
        List<Object> receipts = new ArrayList<>();
        for (SendResult result : results) {
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                throw new IllegalStateException("send status " + result.getSendStatus());
            }
            Map<String, Object> receipt = new HashMap<>(Map.of("message_id", result.getMsgId(), "queue", result.getMessageQueue().getQueueId(), "offset", result.getQueueOffset()));
            if (Version.recallHandle(result) != null) {
                receipt.put("recall", Version.recallHandle(result));
            }
            receipts.add(receipt);
        }
        return Map.of("receipts", receipts);
    }

    Object recall(JsonObject command) throws Exception {
        return Map.of("message_id", Version.recall(producer(), command.get("topic").getAsString(), command.get("recall").getAsString()));
    }

    Object transact(JsonObject command) throws Exception {
        return transacting.run(command);
    }

    Object load(JsonObject command) throws Exception {
        if (load != null) {
            throw new IllegalStateException("a load is running");
        }
        load = new Load(command);
        Thread thread = new Thread(load, "load");
        thread.setDaemon(true);
        thread.start();
        return Map.of();
    }

    Object stopLoad() throws Exception {
        Load ending = load;
        load = null;
        ending.stop = true;
        return ending.done.get();
    }

    void close() {
        transacting.close();
        if (producer != null) {
            producer.shutdown();
            producer = null;
        }
    }

    private DefaultMQProducer producer() throws MQClientException {
        if (producer == null) {
            producer = newProducer("conformance_producer");
        }
        return producer;
    }

    static DefaultMQProducer newProducer(String group) throws MQClientException {
        DefaultMQProducer made = new DefaultMQProducer(
            group + "_" + ProcessHandle.current().pid() + "_" + System.nanoTime(), Endpoint.signing());
        Endpoint.apply(made);
        made.setSendMsgTimeout(SEND_TIMEOUT_MS);
        // A retry by the SDK would make duplicates that no broker can be blamed for.
        made.setRetryTimesWhenSendFailed(0);
        made.setRetryTimesWhenSendAsyncFailed(0);
        made.start();
        return made;
    }

    private static Message message(String topic, JsonObject wanted) {
        Message message = new Message(topic, Base64.getDecoder().decode(wanted.get("body").getAsString()));
        if (wanted.has("tag")) {
            message.setTags(wanted.get("tag").getAsString());
        }
        if (wanted.has("key")) {
            message.setKeys(wanted.get("key").getAsString());
        }
        if (wanted.has("delay_ms")) {
            Version.delay(message, wanted.get("delay_ms").getAsLong());
        }
        if (wanted.has("properties")) {
            wanted.getAsJsonObject("properties").entrySet().forEach(entry -> message.putUserProperty(entry.getKey(), entry.getValue().getAsString()));
        }
        return message;
    }

    private SendResult sendSync(Message message, JsonObject wanted) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                if (wanted.has("queue") || wanted.has("ordering_key")) {
                    return producer().send(message, Producing::choose, wanted);
                }
                return producer().send(message);
            } catch (MQClientException e) {
                // The first route query has a short limit of its own in the SDK: nothing was sent, so trying again is safe.
                if (attempt == FIRST_SEND_TRIES_MAX || e.getErrorMessage() == null || !e.getErrorMessage().startsWith("No route info")) {
                    throw e;
                }
                Thread.sleep(300);
            }
        }
    }

    /** One request; where its first message names a queue or an ordering key, the batch goes where that message would. */
    private SendResult sendBatch(String topic, List<Message> messages, JsonObject first) throws Exception {
        if (first.has("queue") || first.has("ordering_key")) {
            List<MessageQueue> queues = producer().fetchPublishMessageQueues(topic);
            return producer().send(messages, choose(queues, messages.get(0), first));
        }
        return producer().send(messages);
    }

    private void sendOneway(Message message, JsonObject wanted) throws Exception {
        if (wanted.has("queue") || wanted.has("ordering_key")) {
            producer().sendOneway(message, Producing::choose, wanted);
        } else {
            producer().sendOneway(message);
        }
    }

    private List<SendResult> sendAsync(List<Message> messages, List<JsonObject> wanted) throws Exception {
        List<CompletableFuture<SendResult>> pending = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            CompletableFuture<SendResult> future = new CompletableFuture<>();
            SendCallback callback = new SendCallback() {
                @Override public void onSuccess(SendResult result) {
                    future.complete(result);
                }

                @Override public void onException(Throwable e) {
                    future.completeExceptionally(e);
                }
            };
            if (wanted.get(i).has("queue") || wanted.get(i).has("ordering_key")) {
                producer().send(messages.get(i), Producing::choose, wanted.get(i), callback);
            } else {
                producer().send(messages.get(i), callback);
            }
            pending.add(future);
        }
        List<SendResult> results = new ArrayList<>();
        for (CompletableFuture<SendResult> future : pending) {
            results.add(future.get(SEND_TIMEOUT_MS * 2L, TimeUnit.MILLISECONDS));
        }
        return results;
    }

    private static MessageQueue choose(List<MessageQueue> queues, Message message, Object argument) {
        JsonObject wanted = (JsonObject) argument;
        int index = wanted.has("queue") ? wanted.get("queue").getAsInt() : Math.floorMod(wanted.get("ordering_key").getAsString().hashCode(), queues.size());
        return queues.stream().filter(queue -> queue.getQueueId() == index).findFirst().orElseThrow(() -> new IllegalArgumentException("no queue " + index));
    }

    /** Sends as fast as a window of unanswered messages allows, until told to stop or the broker is gone. */
    private static final class Load implements Runnable {
        final CompletableFuture<Object> done = new CompletableFuture<>();
        volatile boolean stop;
        private final String topic;
        private final String run;
        private final int bytes;
        private final int windowSize;
        private final Semaphore window;
        private final Journal journal;
        private final DefaultMQProducer producer;
        private final AtomicLong acked = new AtomicLong();
        private final AtomicLong failed = new AtomicLong();
        private final AtomicLong failedInRow = new AtomicLong();
        private long sent;

        Load(JsonObject command) throws Exception {
            topic = command.get("topic").getAsString();
            run = command.get("run").getAsString();
            bytes = command.get("bytes").getAsInt();
            windowSize = command.get("window").getAsInt();
            window = new Semaphore(windowSize);
            journal = new Journal(command.get("journal").getAsString());
            producer = newProducer("conformance_load");
        }

        @Override
        public void run() {
            try {
                while (!stop && failedInRow.get() < LOAD_FAILURES_MAX) {
                    window.acquire();
                    sendOne(run + "-" + sent++);
                }
                // Whatever is on the way is answered, or times out, before the journal closes.
                window.tryAcquire(windowSize, SEND_TIMEOUT_MS * 2L, TimeUnit.MILLISECONDS);
                journal.close();
                producer.shutdown();
                Map<String, Object> end = new HashMap<>(Map.of("sent", sent, "acked", acked.get(), "failed", failed.get()));
                done.complete(end);
                Driver.emit(Map.of("event", "load_end", "load", end));
            } catch (Exception e) {
                done.completeExceptionally(e);
                Driver.emit(Map.of("event", "load_end", "load", Map.of("error", String.valueOf(e))));
            }
        }

        private void sendOne(String id) {
            byte[] body = Journal.body(id, bytes);
            journal.line("S " + id + " " + Journal.crc(body) + " " + System.currentTimeMillis());
            try {
                producer.send(new Message(topic, body), new SendCallback() {
                    @Override public void onSuccess(SendResult result) {
                        if (result.getSendStatus() == SendStatus.SEND_OK) {
                            journal.line("A " + id + " disk " + System.currentTimeMillis() + " " + result.getMessageQueue().getQueueId() + " " + result.getQueueOffset());
                            if (acked.incrementAndGet() % 1000 == 0) {
                                Driver.emit(Map.of("event", "load_progress", "acked", acked.get()));
                            }
                            failedInRow.set(0);
                            window.release();
                        } else {
                            fail(id, "status " + result.getSendStatus());
                        }
                    }

                    @Override public void onException(Throwable e) {
                        fail(id, String.valueOf(e));
                    }
                });
            } catch (Exception e) {
                fail(id, String.valueOf(e));
            }
        }

        private void fail(String id, String reason) {
            journal.line("F " + id + " " + System.currentTimeMillis() + " " + reason.replace('\n', ' '));
            failed.incrementAndGet();
            failedInRow.incrementAndGet();
            window.release();
        }
    }
}
