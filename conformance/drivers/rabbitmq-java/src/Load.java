import com.google.gson.JsonObject;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.MessageProperties;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Publishes with a window of unconfirmed messages, until told to stop or until the connection goes; it does not come back. */
final class Load implements Runnable {
    private static final long CONFIRMS_MS_MAX = 20_000;

    private final CompletableFuture<Map<String, Object>> done = new CompletableFuture<>();
    private final ConcurrentNavigableMap<Long, String> open = new ConcurrentSkipListMap<>();
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final String topic;
    private final String run;
    private final int bytes;
    private final int windowSize;
    private final Semaphore window;
    private final Journal journal;
    private final Connection connection;
    private final Channel channel;
    private volatile boolean stopping;
    private long sent;

    Load(JsonObject command) throws Exception {
        topic = command.get("topic").getAsString();
        run = command.get("run").getAsString();
        bytes = command.get("bytes").getAsInt();
        windowSize = command.get("window").getAsInt();
        window = new Semaphore(windowSize);
        journal = new Journal(command.get("journal").getAsString());
        connection = Driver.connection(false);
        channel = connection.createChannel();
        channel.confirmSelect();
        channel.addConfirmListener((tag, multiple) -> settle(tag, multiple, true), (tag, multiple) -> settle(tag, multiple, false));
        channel.addShutdownListener(cause -> {
            stopping = true;
            window.release(windowSize);
        });
    }

    @Override
    public void run() {
        try {
            while (!stopping) {
                window.acquire();
                publish(run + "-" + ++sent);
            }
            if (channel.isOpen()) {
                window.tryAcquire(windowSize, CONFIRMS_MS_MAX, TimeUnit.MILLISECONDS);
            }
            open.values().forEach(id -> fail(id, "the connection went before the confirm"));
            journal.close();
            connection.abort();
            done.complete(Map.of("sent", sent, "acked", acked.get(), "failed", failed.get()));
            Lines.emit(Map.of("event", "load_end", "load", done.get()));
        } catch (Exception e) {
            done.completeExceptionally(e);
            Lines.emit(Map.of("event", "load_end", "load", Map.of("error", String.valueOf(e))));
        }
    }

    private void publish(String id) {
        byte[] body = Journal.body(id, bytes);
        journal.line("S " + id + " " + Journal.crc(body) + " " + System.currentTimeMillis());
        long tag = channel.getNextPublishSeqNo();
        open.put(tag, id);
        try {
            channel.basicPublish("", topic, MessageProperties.MINIMAL_PERSISTENT_BASIC, body);
        } catch (Exception e) { // the connection went; the end of the run counts it
            stopping = true;
        }
    }

    private void settle(long tag, boolean multiple, boolean ack) {
        Map<Long, String> settled = multiple ? open.headMap(tag, true) : open.subMap(tag, true, tag, true);
        settled.forEach((each, id) -> {
            open.remove(each);
            if (!ack) {
                fail(id, "nack");
            } else {
                journal.line("A " + id + " disk " + System.currentTimeMillis() + " - -");
                if (acked.incrementAndGet() % 1000 == 0) {
                    Lines.emit(Map.of("event", "load_progress", "acked", acked.get()));
                }
            }
            window.release();
        });
    }

    private void fail(String id, String reason) {
        journal.line("F " + id + " " + System.currentTimeMillis() + " " + reason);
        failed.incrementAndGet();
    }

    Object end() throws Exception {
        stopping = true;
        return done.get();
    }
}
