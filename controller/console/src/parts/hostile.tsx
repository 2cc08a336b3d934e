import { MAX_TEXT, reveal } from "../text";

interface Props {
  text: string | null | undefined;
  multiline?: boolean;
  limit?: number;
}

/** Text from an endpoint or from a person: as text only, with every unseen character spelled out. */
export function Hostile({ text, multiline = false, limit = MAX_TEXT }: Props) {
  // `bdi` keeps right-to-left text from reordering what stands around it.
  return (
    <bdi>
      {reveal(text ?? "", multiline, limit).map((piece, index) =>
        piece.spelled ? (
          <span key={index} className="spelled">
            {piece.text}
          </span>
        ) : (
          piece.text
        ),
      )}
    </bdi>
  );
}
