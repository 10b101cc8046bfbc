import com.google.gson.JsonObject;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.springframework.messaging.support.MessageBuilder;

/** Sends as fast as a window of unanswered messages allows, until told to stop or the broker is gone. */
final class Load implements Runnable {
    private static final int FAILURES_MAX = 100;
    private static final int PROGRESS_EVERY = 1_000;

    final CompletableFuture<Object> done = new CompletableFuture<>();
    volatile boolean stop;
    private final JsonObject command;
    private final RocketMQTemplate template;
    private final int windowSize;
    private final Semaphore window;
    private final Journal journal;
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong failedInRow = new AtomicLong();
    private long sent;

    Load(JsonObject command, RocketMQTemplate template) throws Exception {
        this.command = command;
        this.template = template;
        windowSize = command.get("window").getAsInt();
        window = new Semaphore(windowSize);
        journal = new Journal(command.get("journal").getAsString());
    }

    @Override
    public void run() {
        try {
            while (!stop && failedInRow.get() < FAILURES_MAX) {
                window.acquire();
                sendOne(command.get("run").getAsString() + "-" + sent++);
            }
            // Whatever is on the way is answered, or times out, before the journal closes.
            window.tryAcquire(windowSize, Producing.SEND_TIMEOUT_MS * 2L, TimeUnit.MILLISECONDS);
            journal.close();
            Map<String, Object> end = Map.of("sent", sent, "acked", acked.get(), "failed", failed.get());
            done.complete(end);
            Driver.emit(Map.of("event", "load_end", "load", end));
        } catch (Exception e) {
            done.completeExceptionally(e);
            Driver.emit(Map.of("event", "load_end", "load", Map.of("error", String.valueOf(e))));
        }
    }

    private void sendOne(String id) {
        byte[] body = Journal.body(id, command.get("bytes").getAsInt());
        journal.line("S " + id + " " + Journal.crc(body) + " " + System.currentTimeMillis());
        try {
            template.asyncSend(command.get("topic").getAsString(), MessageBuilder.withPayload(body).build(), new SendCallback() {
                @Override public void onSuccess(SendResult result) {
                    if (result.getSendStatus() == SendStatus.SEND_OK) {
                        succeed(id, result);
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

    private void succeed(String id, SendResult result) {
        journal.line("A " + id + " disk " + System.currentTimeMillis() + " " + result.getMessageQueue().getQueueId() + " " + result.getQueueOffset());
        if (acked.incrementAndGet() % PROGRESS_EVERY == 0) {
            Driver.emit(Map.of("event", "load_progress", "acked", acked.get()));
        }
        failedInRow.set(0);
        window.release();
    }

    private void fail(String id, String reason) {
        journal.line("F " + id + " " + System.currentTimeMillis() + " " + reason.replace('\n', ' '));
        failed.incrementAndGet();
        failedInRow.incrementAndGet();
        window.release();
    }
}
