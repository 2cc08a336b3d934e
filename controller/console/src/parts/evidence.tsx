import type { Connection, Story } from "../api/types";
import { useLanguage } from "../i18n";
import { Hostile } from "./hostile";

/** The rest of the story: network, names, files, and shell text when only text is known. */
export function Evidence({ story }: { story: Story }) {
  const { t } = useLanguage();
  return (
    <>
      {story.command !== undefined && <Lines title={t("incident.command")} lines={[story.command]} />}
      {(story.session?.length ?? 0) > 0 && <Lines title={t("incident.session")} lines={story.session!} />}
      <Connections connections={story.connections ?? []} />
      {(story.dns?.length ?? 0) > 0 && <Lines title={t("incident.dns")} lines={story.dns!} />}
      {(story.files?.length ?? 0) > 0 && (
        <Lines title={t("incident.files")} lines={story.files!.map((file) => `${file.op} ${file.path}`)} />
      )}
    </>
  );
}

function Connections({ connections }: { connections: Connection[] }) {
  const { t } = useLanguage();
  const direction = (name: string) => (name === "out" ? t("incident.out") : name === "in" ? t("incident.in") : name);
  return (
    <section className="card" aria-labelledby="connections-title">
      <h2 id="connections-title">{t("incident.connections")}</h2>
      {connections.length === 0 ? (
        <p className="quiet">{t("incident.noConnections")}</p>
      ) : (
        <table className="plain" aria-labelledby="connections-title">
          <thead>
            <tr>
              <th scope="col">{t("incident.direction")}</th>
              <th scope="col">{t("incident.protocol")}</th>
              <th scope="col">{t("incident.remote")}</th>
              <th scope="col">{t("incident.port")}</th>
            </tr>
          </thead>
          <tbody>
            {connections.map((connection, index) => (
              <tr key={index}>
                <td>
                  <Hostile text={direction(connection.direction)} />
                </td>
                <td>
                  <Hostile text={connection.protocol} />
                </td>
                <td className="mono break">
                  <Hostile text={connection.address} />
                </td>
                <td className="mono">{connection.port}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Lines({ title, lines }: { title: string; lines: string[] }) {
  return (
    <section className="card">
      <h2>{title}</h2>
      {lines.map((line, index) => (
        <code key={index} className="argv">
          <Hostile text={line} multiline />
        </code>
      ))}
    </section>
  );
}
