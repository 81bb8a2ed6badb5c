package iris.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * The same k-nearest-neighbours classification with little overhead: a streaming parser that reads only the needed
 * fields, a scan of the training rows in one array, and the prediction appended to the record's bytes.
 */
public final class Classifier implements Serializable {
  private static final long serialVersionUID = 1;
  private static final JsonFactory JSON = new JsonFactory();
  private static final int NEIGHBORS = 5;
  private static final int FEATURES = 4;

  private final String[] classes;
  private final double[] rows;
  private final int[] classOfRow;
  private final byte[][] tails;

  /** The result for a record. */
  public record Outcome(byte[] value, boolean mispredicted) {}

  /** Reads the training rows: a CSV file with four measurements and the class in its last five columns. */
  public Classifier(Path csv) {
    List<String[]> cells = new ArrayList<>();
    try {
      Files.readAllLines(csv).stream().skip(1).forEach(line -> cells.add(line.split(",")));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    TreeSet<String> names = new TreeSet<>();
    cells.forEach(row -> names.add(row[row.length - 1]));
    classes = names.toArray(String[]::new);
    rows = new double[cells.size() * FEATURES];
    classOfRow = new int[cells.size()];
    for (int row = 0; row < cells.size(); row++) {
      String[] cell = cells.get(row);
      for (int feature = 0; feature < FEATURES; feature++) {
        rows[row * FEATURES + feature] = Double.parseDouble(cell[cell.length - 1 - FEATURES + feature]);
      }
      classOfRow[row] = List.of(classes).indexOf(cell[cell.length - 1]);
    }
    tails = new byte[classes.length][];
    for (int i = 0; i < classes.length; i++) {
      tails[i] = (",\"PredictedSpecies\":\"" + classes[i] + "\"}").getBytes(StandardCharsets.UTF_8);
    }
  }

  /** Classifies one record. */
  public Outcome classify(byte[] value) {
    double a = 0, b = 0, c = 0, d = 0;
    String label = null;
    try (JsonParser parser = JSON.createParser(value)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "SepalLengthCm" -> a = parser.getDoubleValue();
          case "SepalWidthCm" -> b = parser.getDoubleValue();
          case "PetalLengthCm" -> c = parser.getDoubleValue();
          case "PetalWidthCm" -> d = parser.getDoubleValue();
          case "Species" -> label = parser.getText();
          default -> parser.skipChildren();
        }
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    int predicted = predict(a, b, c, d);
    byte[] tail = tails[predicted];
    byte[] out = new byte[value.length - 1 + tail.length];
    System.arraycopy(value, 0, out, 0, value.length - 1);
    System.arraycopy(tail, 0, out, value.length - 1, tail.length);
    return new Outcome(out, label != null && !label.equals(classes[predicted]));
  }

  private int predict(double a, double b, double c, double d) {
    double[] nearest = {Double.MAX_VALUE, Double.MAX_VALUE, Double.MAX_VALUE, Double.MAX_VALUE, Double.MAX_VALUE};
    int[] found = new int[NEIGHBORS];
    for (int row = 0, at = 0; row < classOfRow.length; row++, at += FEATURES) {
      double p = rows[at] - a, q = rows[at + 1] - b, r = rows[at + 2] - c, s = rows[at + 3] - d;
      double distance = p * p + q * q + r * r + s * s;
      if (distance < nearest[NEIGHBORS - 1]) {
        int place = NEIGHBORS - 1;
        while (place > 0 && distance < nearest[place - 1]) {
          nearest[place] = nearest[place - 1];
          found[place] = found[place - 1];
          place--;
        }
        nearest[place] = distance;
        found[place] = classOfRow[row];
      }
    }
    int[] votes = new int[classes.length];
    int best = 0;
    for (int neighbor : found) {
      votes[neighbor]++;
    }
    for (int i = 1; i < votes.length; i++) {
      if (votes[i] > votes[best]) {
        best = i;
      }
    }
    return best;
  }
}
