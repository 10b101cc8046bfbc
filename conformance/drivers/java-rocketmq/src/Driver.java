import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Drives an SDK in Java by JSON lines; the README two folders up says which. This file reads commands and writes answers; it knows
 * nothing of messages.
 */
public class Driver {
    /** A command that this SDK cannot carry out, with the reason that goes into the table of results. */
    static final class Unsupported extends RuntimeException {
        private static final long serialVersionUID = 1;

        Unsupported(String reason) {
            super(reason);
        }
    }

    private static final Gson GSON = new Gson();
    private static final PrintStream OUT = System.out;
    private static final long LIMIT_MS_DEFAULT = 30_000;

    private final Producing producing = new Producing();
    private final Consuming consuming = new Consuming();
    private final Reading reading = new Reading();

    public static void main(String[] args) throws Exception {
        // The SDK's logger and stray prints must not mix with the answers.
        System.setOut(System.err);
        new Driver().serve();
        // The SDK leaves threads that are not daemons.
        Runtime.getRuntime().halt(0);
    }

    static void emit(Object line) {
        String text = GSON.toJson(line);
        synchronized (OUT) {
            OUT.println(text);
            OUT.flush();
        }
    }

    private void serve() throws Exception {
        ExecutorService worker = Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work, "command");
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = input.readLine()) != null; ) {
            JsonObject command = GSON.fromJson(line, JsonObject.class);
            long limit = command.has("limit_ms") ? command.get("limit_ms").getAsLong() : LIMIT_MS_DEFAULT;
            Future<Object> work = worker.submit(() -> run(command));
            emit(answer(command.get("id").getAsLong(), work, limit));
        }
    }

    private static Map<String, Object> answer(long id, Future<Object> work, long limitMs) throws InterruptedException {
        try {
            return Map.of("id", id, "ok", work.get(limitMs, TimeUnit.MILLISECONDS));
        } catch (TimeoutException e) {
            work.cancel(true);
            return Map.of("id", id, "error", "not done within " + limitMs + " ms");
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Unsupported) {
                return Map.of("id", id, "unsupported", e.getCause().getMessage());
            }
            // What the broker said may be the cause of what the client says.
            Throwable cause = e.getCause() == null ? null : e.getCause().getCause();
            return Map.of("id", id, "error", e.getCause() + (cause == null ? "" : ", by " + cause));
        }
    }

    private Object run(JsonObject command) throws Exception {
        switch (command.get("cmd").getAsString()) {
            case "hello":
                return Map.of("sdk", Producing.SDK, "version", Producing.sdkVersion());
            case "connect":
                Endpoint.connect(command);
                return Map.of();
            case "send":
                return producing.send(command);
            case "load":
                return producing.load(command);
            case "stop_load":
                return producing.stopLoad();
            case "consume":
                return consuming.start(command);
            case "stop":
                return consuming.stop(command.get("consumer").getAsString());
            case "offsets":
                return reading.offsets(command);
            case "seek_time":
                return reading.seekTime(command);
            case "recall":
                return producing.recall(command);
            case "prepare":
            case "produce":
            case "decide":
                return producing.transact(command);
            case "find":
                return reading.find(command);
            case "drain":
                return reading.drain(command);
            case "reset":
                producing.close();
                consuming.close();
                return Map.of();
            case "create_topic":
                throw new Unsupported("the SDK makes a topic by sending to it; creating one is the admin tool's");
            case "settle":
                throw new Unsupported("a push consumer settles by what its listener returns");
            default:
                throw new Unsupported("no command " + command.get("cmd"));
        }
    }
}
