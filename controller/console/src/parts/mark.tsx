/** The product's mark: a ring with one guarded opening. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true" focusable="false">
      <circle
        cx="16"
        cy="16"
        r="11"
        fill="none"
        stroke="currentColor"
        strokeWidth="3.5"
        strokeDasharray="52 17.1"
        strokeLinecap="round"
        transform="rotate(-40 16 16)"
      />
      <circle className="mark-core" cx="16" cy="16" r="4" />
    </svg>
  );
}
