import com.google.gson.JsonObject;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

/** Publishes with a window of unconfirmed messages, each with its correlation data, until told to stop or until one fails. */
final class Load implements Runnable {
    private static final long CONFIRMS_MS_MAX = 20_000;

    private final CompletableFuture<Map<String, Object>> done = new CompletableFuture<>();
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final String topic;
    private final String run;
    private final int bytes;
    private final int windowSize;
    private final Semaphore window;
    private final Journal journal;
    private final CachingConnectionFactory connections = Driver.connections(ConfirmType.CORRELATED);
    private final RabbitTemplate template = new RabbitTemplate(connections);
    private volatile boolean stopping;
    private long sent;

    Load(JsonObject command) throws Exception {
        topic = command.get("topic").getAsString();
        run = command.get("run").getAsString();
        bytes = command.get("bytes").getAsInt();
        windowSize = command.get("window").getAsInt();
        window = new Semaphore(windowSize);
        journal = new Journal(command.get("journal").getAsString());
    }

    @Override
    public void run() {
        try {
            while (!stopping) {
                window.acquire();
                publish(run + "-" + ++sent);
            }
            window.tryAcquire(windowSize, CONFIRMS_MS_MAX, TimeUnit.MILLISECONDS);
            journal.close();
            connections.destroy();
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
        CorrelationData correlation = new CorrelationData(id);
        correlation.getFuture().whenComplete((confirm, error) -> {
            if (error != null || !confirm.ack()) {
                fail(id, String.valueOf(error != null ? error : confirm));
            } else {
                journal.line("A " + id + " disk " + System.currentTimeMillis() + " - -");
                if (acked.incrementAndGet() % 1000 == 0) {
                    Lines.emit(Map.of("event", "load_progress", "acked", acked.get()));
                }
            }
            window.release();
        });
        try {
            template.send("", topic, MessageBuilder.withBody(body).build(), correlation);
        } catch (RuntimeException e) { // the connection went
            correlation.getFuture().completeExceptionally(e);
        }
    }

    private void fail(String id, String reason) {
        stopping = true;
        journal.line("F " + id + " " + System.currentTimeMillis() + " " + reason.replace('\n', ' '));
        failed.incrementAndGet();
    }

    Object end() throws Exception {
        stopping = true;
        return done.get();
    }
}
