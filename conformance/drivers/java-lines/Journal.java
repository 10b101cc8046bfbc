import java.io.BufferedWriter;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32;

/** Writes the lines that the offline checker reads. Lines are whole even when several threads write. */
final class Journal implements Closeable {
    private final BufferedWriter out;

    Journal(String path) throws IOException {
        out = Files.newBufferedWriter(Path.of(path), StandardCharsets.UTF_8);
    }

    void line(String text) {
        synchronized (out) {
            try {
                out.write(text);
                out.write('\n');
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Override
    public void close() throws IOException {
        synchronized (out) {
            out.close();
        }
    }

    static String crc(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body);
        return String.format("%08x", crc.getValue());
    }

    static byte[] body(String id, int bytes) {
        StringBuilder text = new StringBuilder(bytes).append(id).append(' ');
        while (text.length() < bytes) {
            text.append('.');
        }
        return text.toString().getBytes(StandardCharsets.US_ASCII);
    }

    static String id(byte[] body) {
        String text = new String(body, StandardCharsets.ISO_8859_1);
        int blank = text.indexOf(' ');
        return blank < 1 ? "?" : text.substring(0, blank);
    }
}
